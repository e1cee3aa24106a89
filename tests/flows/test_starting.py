"""The shipped server refuses, before it listens, what the settings do not allow; and says so without a traceback or a value."""

import os
import subprocess
import sys

import pytest

from tests.live import PROJECT, free_port

GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]


def start(*options, **environment):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OSTIARY_")} | environment
    return subprocess.run(
        [*GUNICORN, *options, "app:create_app()"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        ([], {"OSTIARY_ISSUER": "https://op.example"}, "OSTIARY_DATABASE_URL is missing"),
        ([], {"OSTIARY_SECRET_KEY": "too short"}, "OSTIARY_SECRET_KEY must have at least 32 characters"),
        ([], {"OSTIARY_DATABASE_URL": "sqlite://", "OSTIARY_SECRET_KEY": "k" * 32}, "in-memory SQLite"),
        (["--bind", f"0.0.0.0:{free_port()}"], {"OSTIARY_SECRET_KEY": "k" * 32}, "bound to loopback addresses only"),
    ],
)
def test_it_refuses_to_start(options, settings, words):
    done = start(*options, **settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "too short" not in done.stderr
    assert "Listening" not in done.stderr


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
