"""What a real server writes while strangers try to write it: each line is one of ours, whole, with what was
asked in its place.
"""

import re
import socket
import subprocess
import sys
import time
from base64 import b64encode

import pytest

from services.event_log import REASONS
from tests.live import PROJECT, LiveServer, free_port
from tests.middleware.test_logs import parse

START = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) ([\w.]+) ")
BANNER = re.compile(r"\n  Ostiary is ready:  http://[\w.:]+\n  Metadata:          http://\S+\n\n")
FORGED = b"2026-01-01T00:00:00.000Z INFO ostiary.events event=sign_in sub=admin"
IN_A_TERMINAL = b"\x1b[2J\x1b]0;owned\x07\x9b31m"
DIRECTIONS = "\u202e\u2066\u2028\u200f".encode()
HOSTILE = (
    b'"' + IN_A_TERMINAL + DIRECTIONS,
    b'x" event=sign_in sub="admin',
    b"%0a" + FORGED.replace(b" ", b"%20"),
    b"%s%(name)s{0}\\",
    "caf\u00e9".encode(),
)


def ask(port, lines, body=b""):
    """Send what no library would; returns the status, and the header Request-Id."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"\r\n".join([*lines, b"", b""]) + body)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    request_id = re.search(rb"\r\nRequest-Id: (\w+)\r\n", answer)
    return int(answer.split()[1]), request_id and request_id[1].decode()


def ask_in_all_places(port, value):
    """The value as path, query, user agent, client id, forwarded address, host and method.

    Returns what was answered.
    """
    host, closed = b"Host: 127.0.0.1:%d" % port, b"Connection: close"
    as_form = b"Content-Type: application/x-www-form-urlencoded"
    client = b64encode(value + b"\r\n" + FORGED + b" and more:secret")
    path = value.replace(b" ", b"%20")
    return [
        ask(port, [b"GET /%s HTTP/1.1" % path, host, closed]),
        ask(port, [b"GET /nowhere?code=THE-CODE-%s HTTP/1.1" % path, host, closed]),
        ask(port, [b"GET /nowhere HTTP/1.1", host, closed, b"User-Agent: " + value]),
        ask(port, [b"GET /nowhere HTTP/1.1", host, closed, b"X-Forwarded-For: " + value]),
        ask(port, [b"GET /nowhere HTTP/1.1", b"Host: " + value, closed]),
        ask(port, [b"%s /nowhere HTTP/1.1" % path, host, closed]),
        ask(
            port,
            [
                b"POST /oauth/token HTTP/1.1",
                host,
                closed,
                as_form,
                b"Content-Length: 3",
                b"Authorization: Basic " + client,
            ],
            b"x=y",
        ),
        ask(
            port,
            [b"POST /oauth/token HTTP/1.1", host, closed, as_form, b"Content-Length: 29"]
            + [b"Authorization: Basic " + client],
            b"grant_type=client_credentials",
        ),
    ]


def written(text):
    """The records of a log as (logger, text); fails for a line that is none of ours."""
    records = []
    for line in text.splitlines():  # at each character that anything takes for the end of one
        start = START.match(line)
        assert start, line
        assert line.isprintable(), line
        records.append((start[2], line[start.end() :]))
    return records


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    server = LiveServer(f"sqlite:///{folder / 'log.sqlite3'}", folder)
    server.environment["GUNICORN_CMD_ARGS"] = "--access-logfile -"
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def answers(server):
    found = [answer for value in HOSTILE for answer in ask_in_all_places(server.port, value)]
    time.sleep(0.3)  # a line is written after its answer
    return found


@pytest.fixture(scope="module")
def records(server, answers):
    banner, rest = BANNER.search(server.log()), BANNER.sub("", server.log())
    assert banner is not None
    return written(rest)


@pytest.mark.threat("T191")
def test_every_line_is_ours(records):
    assert {"gunicorn.error", "gunicorn.access", "ostiary.events"} <= {logger for logger, _text in records}
    for logger, text in records:
        if logger in ("gunicorn.access", "ostiary.events"):
            assert {"event", "request_id"} <= parse(text).keys()


@pytest.mark.threat("T192")
def test_each_refusal_has_one_line(records, answers):
    assert min(status for status, _id in answers) >= 400
    lines = [parse(text) for logger, text in records if logger == "ostiary.events"]
    assert {line["event"] for line in lines} == {"refused"}
    assert len(lines) == len(answers)
    assert {line["reason"] for line in lines} <= REASONS.keys()
    assert {line["reason"] for line in lines} >= {
        "malformed",
        "not_found",
        "unknown_client",
        "not_loopback",
        "wrong_host",
    }
    ids = [request_id for _status, request_id in answers if request_id]
    assert sorted(line["request_id"] for line in lines if line["request_id"] != "-") == sorted(ids)
    assert {line["remote_addr"] for line in lines} == {"127.0.0.1"}
    assert max(len(line.get("client_id", "")) for line in lines) <= 64


def test_each_request_has_an_access_line(records, answers):
    lines = {
        line["request_id"]: line
        for logger, text in records
        if logger == "gunicorn.access"
        for line in [parse(text)]
    }
    for status, request_id in answers:
        if request_id:
            line = lines[request_id]
            assert (line["event"], line["status"], line["remote_addr"]) == (
                "request",
                str(status),
                "127.0.0.1",
            )
            assert line["bytes"].isdigit() and line["ms"].isdigit()
            assert (
                line["method"]
                and line["user_agent"]
                and line["path"].startswith("/")
                and "?" not in line["path"]
            )


@pytest.mark.threat("T191")
def test_a_query_is_in_no_line(server, answers):
    assert "THE-CODE" not in server.log()


@pytest.mark.threat("T191")
def test_the_development_server_writes_the_same_lines(tmp_path):
    server = LiveServer(f"sqlite:///{tmp_path / 'development.sqlite3'}", tmp_path)
    server.migrate()
    port = free_port()
    command = [sys.executable, "-m", "flask", "run", "--port", str(port)]
    environment = server.environment | {"PORT": str(port), "FLASK_APP": "app:create_app"}
    with (tmp_path / "stdout").open("wb") as out, (tmp_path / "stderr").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=out, stderr=log)
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.05)
            answers = [answer for value in HOSTILE for answer in ask_in_all_places(port, value)]
        finally:
            process.terminate()
            process.wait(10)
    text = (tmp_path / "stderr").read_text()
    records = written(text)
    assert "THE-CODE" not in text
    lines = [parse(text) for logger, text in records if logger == "ostiary.events"]
    assert [line["request_id"] for line in lines] == [
        request_id for _status, request_id in answers if request_id
    ]
    assert len([text for logger, text in records if logger == "werkzeug" and "HTTP/1.1" in text]) >= len(
        lines
    )


@pytest.mark.threat("T191")
def test_a_command_writes_the_same_lines(tmp_path):
    """What a library warns of too."""
    server = LiveServer(f"sqlite:///{tmp_path / 'command.sqlite3'}", tmp_path)
    done = server.flask_process("db", "upgrade", "no such\n\x1b[2Jrevision", check=False)
    assert done.returncode == 1
    assert written(done.stderr)
