"""A line of the log is one line, whatever its values are: nothing in it is taken for another field, another
line or a command.
"""

import io
import json
import logging
import re
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config import PROJECT
from middleware.logs import LineFormatter, RequestId
from services.event_log import Event, Reason, as_plain, as_text, log, printable, visible, write

FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)(?: |$)')
HOSTILE = [
    "a\n2026-01-01T00:00:00.000Z INFO ostiary.events event=sign_in sub=admin",
    'web" event="sign_in',
    "web event=sign_in",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u2028\u2029\x85\x0b\x0c",
    "\u202eevil\u202c\u2066\u200f",
    "back\\slash\\",
    "100%s %d %(name)s {0}",
    "\x00\x7f",
    "\ud800",
    "",
]


def parse(text):
    """The fields of a line as a program reads them; fails where anything is left over."""
    found, at = {}, 0
    while at < len(text):
        field = FIELD.match(text, at)
        assert field, text[at:]
        name, value = field.groups()
        assert name not in found
        found[name] = json.loads(value) if value.startswith('"') else value
        at = field.end()
    return found


@pytest.fixture
def lines():
    """What is written, as the server's log would have it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    handler.addFilter(RequestId())
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)  # it also forgets which levels the logger remembers as disabled
    yield lambda: stream.getvalue()
    log.setLevel(level)
    log.removeHandler(handler)


@pytest.mark.threat("T191")
@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=200)))
@example(dict.fromkeys("abc", HOSTILE[0]))
@example({"a": "ost_aa_"})
def test_what_was_written_is_what_is_read(fields):
    text = as_text(fields)
    assert text.isascii() and text.isprintable()
    # what looks like a token is cut
    assert parse(text) == {name: as_plain(value) for name, value in fields.items()}


@pytest.mark.threat("T191")
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_stays_in_its_field(lines, value):
    write(Event.REFUSED, client_id=value, sub=None, client_known=False)
    (line,) = lines().splitlines()
    assert line.isascii() and line.isprintable()
    at, level, name, fields = line.split(" ", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    assert (level, name) == ("INFO", "ostiary.events")
    assert parse(fields) == {
        "event": "refused",
        "client_id": value,
        "client_known": "false",
        "request_id": "-",
    }


@pytest.mark.threat("T191")
@given(st.text())
def test_words_of_others_stay_in_one_line(text):
    assert printable(text).isprintable()


@pytest.mark.threat("T191")
@pytest.mark.parametrize("value", HOSTILE)
def test_any_record_is_one_line(value):
    try:
        raise ValueError(value)
    except ValueError:
        record = logging.LogRecord("other", logging.ERROR, "file", 1, "it said %s", (value,), sys.exc_info())
    written = LineFormatter().format(record)
    assert written.isprintable()
    assert "ValueError" in written and written.endswith(" request_id=-")


@pytest.mark.parametrize(
    "secret", ["ost_at_" + "a" * 43, "ost_cs_" + "b" * 43, "eyJhbGciOiJub25lIn0.e30.c2ln"]
)
def test_what_looks_like_a_credential_is_cut_short(lines, secret):
    write(Event.REFUSED, client_id=visible(f"Bearer {secret}"))
    record = logging.LogRecord("other", logging.INFO, "file", 1, "got %s", (secret,), None)
    for line in (lines(), LineFormatter().format(record)):
        assert secret[7:] not in line
        assert f"{secret[:3]}" in line


def test_an_unknown_client_id_is_short_and_visible():
    assert visible("x" * 1_000) == "x" * 64
    assert visible("a\u202eb\n\x1bc d") == "a?b??c d"


def test_a_long_value_is_cut():
    assert len(as_text({"detail": "x" * 100_000})) < 1_100


@pytest.mark.integration
def test_a_warning_and_what_ends_a_thread_are_one_line_each():
    program = (
        "import threading, warnings; from middleware import logs; logs.configure('INFO')\n"
        "warnings.warn('a\\n\\x1b[2Jb')\n"
        "def fail(): raise ValueError('a\\n\\u202eb')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True)
    warned, ended = done.stderr.splitlines()
    assert warned.isprintable() and " WARNING py.warnings " in warned
    assert ended.isprintable() and " ERROR ostiary.logs a thread ended: " in ended and "ValueError" in ended


def test_the_guide_has_the_list_of_reasons():
    rows = "\n".join(f"| `{reason}` | {reason.value} |" for reason in Reason)
    table = f"| reason | what it means |\n| --- | --- |\n{rows}\n"
    assert (
        f"<!-- from `event_log.Reason` -->\n{table}<!-- end -->"
        in (PROJECT / "docs/operating.md").read_text()
    )
