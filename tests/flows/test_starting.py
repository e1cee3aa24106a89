"""The shipped server refuses, before it listens, what the settings do not allow; and says so without a
traceback or a value.
"""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.live import PROJECT, START_SECONDS, free_port

GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]


def start(*options, **environment):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("OSTIARY_")
    } | environment
    return subprocess.run(
        [*GUNICORN, *options, "app:create_app()"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        ([], {"OSTIARY_ISSUER": "https://op.example"}, "OSTIARY_DATABASE_URL is missing"),
        ([], {"OSTIARY_SECRET_KEY": "too short"}, "OSTIARY_SECRET_KEY must have at least 32 characters"),
        ([], {"OSTIARY_DATABASE_URL": "sqlite://", "OSTIARY_SECRET_KEY": "k" * 32}, "in-memory SQLite"),
        (
            ["--bind", f"0.0.0.0:{free_port()}"],
            {"OSTIARY_DATABASE_URL": "sqlite:///nowhere.sqlite3", "OSTIARY_SECRET_KEY": "k" * 32},
            "bound to loopback addresses only",
        ),
    ],
)
def test_it_refuses_to_start(options, settings, words):
    done = start(*options, **settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "too short" not in done.stderr
    assert "Listening" not in done.stderr


@contextmanager
def make_run(tmp_path, port):
    """`make run` on a database of its own, until it says that it is ready. Gives what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OSTIARY_")} | {
        "PORT": str(port),
        "OSTIARY_DATABASE_URL": f"sqlite:///{tmp_path / 'ostiary.sqlite3'}",
        "OSTIARY_SECRET_KEY": "k" * 32,
    }
    said = tmp_path / "said"
    with said.open("wb") as file:  # the dependencies are there: the tests run with them
        command = ["make", f"BIN={Path(sys.executable).parent}", "--old-file=.venv/installed", "run"]
        make = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Ostiary is ready" not in said.read_text():
            assert make.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        yield said.read_text()
        assert "Ostiary 0.1.0" in next(
            line for line in said.read_text().splitlines() if "[INFO]" in line or "INFO" in line
        )
    finally:
        os.killpg(make.pid, signal.SIGTERM)
        make.wait(15)


def test_make_run_has_something_to_try(tmp_path):
    """Once with a password; the second time, on another port, as it was left."""
    first, second = free_port(), free_port()
    with make_run(tmp_path, first) as said:
        assert f"http://127.0.0.1:{first}/demo" in said
        [password] = re.findall(r"Password +(\S+)", said)
    with make_run(tmp_path, second) as said:
        assert f"http://127.0.0.1:{second}/demo, as demo@example.com" in said
        assert password not in said
        home = requests.get(f"http://127.0.0.1:{second}/", timeout=10)
        assert 'href="/demo"' in home.text


def test_commands_refuse_as_cleanly():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OSTIARY_")}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "scopes", "list"],
        cwd=PROJECT,
        env=environment | {"OSTIARY_ISSUER": "https://op.example"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "OSTIARY_SECRET_KEY is missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
