"""Commands as operators run them: each in a process of its own."""

import base64
import json
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.builders import PASSWORD, REDIRECT_URI
from tests.live import LiveServer, live_server, new_database

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

MIGRATE = "`.venv/bin/flask db upgrade`"


def first_line(done):
    """Development mode, which `LiveServer` runs in, may add warnings of libraries."""
    return done.stderr.partition("\n")[0]


@pytest.fixture
def server(database_url, tmp_path):
    """Migrated, and not started: commands need no server."""
    server = LiveServer(database_url, tmp_path)
    server.flask_process("db", "upgrade")
    return server


def test_json_goes_to_stdout_and_the_rest_to_stderr(server):
    added = server.flask_process(
        "clients", "add", "Web", "--redirect-uri", REDIRECT_URI, "--no-pkce", "--json"
    )
    members = json.loads(added.stdout)
    assert first_line(added) == f"Registered {members['client_id']}."
    assert "RFC 9700" in added.stderr
    assert members["client_secret"] not in added.stderr
    refused = server.flask_process(
        "users", "add", "nobody", "--password-stdin", "--json", input=PASSWORD, check=False
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert first_line(refused) == "Error: 'nobody' is not an email address"
    misunderstood = server.flask_process("users", "add", "--json", check=False)
    assert (misunderstood.returncode, misunderstood.stdout) == (2, "")
    assert server.rows("SELECT count(*) FROM end_user") == [(0,)]


def test_a_database_that_is_not_migrated(database_url, tmp_path):
    server = LiveServer(database_url, tmp_path)
    listed = server.flask_process("users", "list", "--json", check=False)
    assert (listed.returncode, listed.stdout) == (1, "")
    assert first_line(listed) == f"Error: the database is not migrated: run {MIGRATE} first"
    checked = server.flask_process("config", "check", check=False)
    assert checked.returncode == 1
    assert MIGRATE in checked.stderr
    assert "Traceback" not in listed.stderr + checked.stderr


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.parametrize("command", [("users", "list"), ("config", "check"), ("db", "upgrade")])
def test_settings_that_cannot_be_used(tmp_path, command):
    """Every problem in clean words, no trace, nothing on stdout; before the database is looked at."""
    server = LiveServer(
        "oracle://owner:the-password@host/db", tmp_path, issuer="http://op.example", max_sessions="many"
    )
    done = server.flask_process(*command, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    names = ("OSTIARY_DATABASE_URL", "OSTIARY_ISSUER", "OSTIARY_MAX_SESSIONS")
    assert [name for name in names if name not in done.stderr] == []
    assert not [value for value in ("the-password", "op.example", "many") if value in done.stderr]


@pytest.mark.long
def test_one_address_added_by_several_at_once_is_added_once(server):
    def add(number):
        return server.flask_process(
            "users", "add", "ada@example.com", "--password-stdin", input=PASSWORD, check=False
        )

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(add, range(3)))
    assert sorted(process.returncode for process in done) == [0, 1, 1]
    losers = {first_line(process) for process in done if process.returncode}
    assert losers == {"Error: there is somebody with the address ada@example.com already"}
    assert server.rows("SELECT count(*) FROM end_user") == [(1,)]


@pytest.mark.long
def test_the_use_of_a_secret_shows_soon(database_url, tmp_path):
    """A serving process stores it beside its requests."""
    with live_server(database_url, tmp_path) as server:
        machine = ("--grant-type", "client_credentials", "--json")
        client = json.loads(server.flask_process("clients", "add", "Robot", *machine).stdout)
        assert ask(server, client) == 200
        rotated = server.flask_process(
            "clients", "rotate-secret", client["client_id"], "--overlap", "7d", "--json"
        )
        assert ask(server, json.loads(rotated.stdout)) == 200
        deadline = time.monotonic() + 10
        while server.rows("SELECT number FROM client_secret_use ORDER BY number") != [(1,), (2,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shown = json.loads(server.flask_process("clients", "show", client["client_id"], "--json").stdout)
        ages = [time.time() - secret["last_used_at"] for secret in shown["client_secrets"]]
        assert [0 <= age < 60 for age in ages] == [True, True]


def ask(server, client):
    """The status of a request for a token."""
    proof = base64.b64encode(f"{client['client_id']}:{client['client_secret']}".encode()).decode()
    request = urllib.request.Request(
        f"{server.issuer}/oauth/token",
        data=b"grant_type=client_credentials",
        headers={"Authorization": f"Basic {proof}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


@pytest.mark.long
def test_a_password_that_is_typed_slowly_holds_up_nobody(tmp_path, postgres):
    """While a command waits for its stdin it has no connection, so no transaction that another one could wait
    for.
    """
    server = LiveServer(new_database("postgresql", tmp_path, postgres), tmp_path)
    server.flask_process("db", "upgrade")
    slow = subprocess.Popen(
        [sys.executable, "-m", "flask", "users", "add", "ada@example.com", "--password-stdin"],
        cwd=server.source,
        env=server.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        server.flask_process("users", "list")  # takes as long as the slow one needs to come to its stdin
        connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ostiary'"
        assert server.rows(f"{connections} AND datname = current_database()") == [(0,)]
        assert slow.poll() is None
        _stdout, stderr = slow.communicate(PASSWORD, timeout=30)
        assert slow.returncode == 0, stderr
    finally:
        slow.kill()
        slow.communicate()
