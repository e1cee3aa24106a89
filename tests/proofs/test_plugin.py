"""`testing/races/plugin.py` as `docs/proving.md` has it: by a pytest of its own, in a folder with somebody's
own `create_app`.
"""

import os
import re
import subprocess

import pytest

from tests.live import PROJECT, new_database

pytestmark = pytest.mark.whole_machine

DOCUMENT = (PROJECT / "docs/proving.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "OSTIARY_"))
} | {"OSTIARY": str(PROJECT)}
# The claim always succeeds: everybody who sends a code wins it.
BROKEN_APP = """
import store.codes
from app import create_app

store.codes.claim = lambda code_digest: True
"""
SCENES = 9


@pytest.fixture
def folder(tmp_path):
    """The example's files."""
    for language, text in BLOCKS:
        if language in ("python", "ini"):
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    return tmp_path


def run(folder, *options):
    """The documented command, with options; its exit code and words."""
    [command] = [text for language, text in BLOCKS if language == "bash"]
    done = subprocess.run(
        ["bash", "-euc", f'{command.rstrip()} "$@"', "bash", *options],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_documents_example(folder):
    (folder / "test_mine.py").write_text("def test_mine():\n    pass\n")
    code, words = run(folder)
    assert (code, f"{SCENES + 2} passed" in words) == (0, True), words


def test_only_the_promises_on_a_database_of_ones_own(folder, servers):
    (folder / "test_mine.py").write_text("def test_mine():\n    pass\n")
    url = new_database("postgresql", folder, servers)
    code, words = run(folder, "-m", "prove", "--prove-rounds", "1", "--prove-database-url", url)
    assert (code, f"1 failed, {SCENES} passed" in words) == (1, True), words
    assert "VOID: fsync is off on the PostgreSQL server" in words
    assert "Traceback" not in words


def test_a_broken_promise_is_a_failing_test_in_its_own_words(folder):
    (folder / "broken_app.py").write_text(BROKEN_APP)
    code, words = run(folder, "--prove-app", "broken_app:create_app", "--prove-rounds", "1")
    assert code == 1, words
    assert re.search(r"^BROKEN in 1 of 1 rounds: one code, \d winners$", words, re.MULTILINE)
    assert "FAILED prove::one code for many" in words
    assert "FAILED prove::machines" not in words
    assert "Traceback" not in words


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--prove-database-url", "sqlite://"], "in-memory SQLite is for the test client alone"),
        (
            ["--prove-app", "nothing:create_app"],
            "nothing.create_app cannot be imported: No module named 'nothing'",
        ),
    ],
    ids=["memory", "no_app"],
)
def test_options_that_will_not_do(folder, options, problem):
    code, words = run(folder, *options)
    assert (code, problem in words) == (pytest.ExitCode.USAGE_ERROR, True), words
