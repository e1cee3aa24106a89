"""What docs/operating.md tells operators to do on their database server is done here, as it stands there."""

import re
import secrets
import subprocess

import pytest
from sqlalchemy import create_engine, make_url

import database
import database.scratch
from models import db
from tests.live import PROJECT, LiveServer, MariaDB, do_without

GUIDE = (PROJECT / "docs/operating.md").read_text()
TIME_OUTS, ACCOUNT, SCRATCH = re.findall(r"^```sql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
[DUMP] = re.findall(r"^\$ mariadb-dump (.*) ostiary > ", GUIDE, re.MULTILINE)
PASSWORD = "a long password"
assert PASSWORD in ACCOUNT


@pytest.fixture
def name():
    """For whatever the guide calls `ostiary`."""
    return f"ostiary_{secrets.token_hex(6)}"


def renamed(script, name):
    return [
        statement.strip() for statement in script.replace("ostiary", name).split(";") if statement.strip()
    ]


def with_account(url, name, **changes):
    url = make_url(url).set(username=name, password=PASSWORD, **changes)
    return url.render_as_string(hide_password=False)


def findings_behind_a_pool(url):
    """What is odd where nothing that is said at connect gets through."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [finding.text for finding in database.run_checks(connection, db.metadata.tables.keys(), 1)]
    finally:
        engine.dispose()


def test_an_account_of_postgresql_with_the_time_outs(servers, name):
    server = servers("postgresql")
    url = with_account(server.new_database(), name)
    server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    assert [words for words in findings_behind_a_pool(url) if "time-outs" in words]
    server.execute(*renamed(TIME_OUTS, name))
    assert not [
        words for words in findings_behind_a_pool(url) if "time-outs" in words or "READ COMMITTED" in words
    ]


@pytest.mark.long
def test_an_account_of_mariadb_may_do_what_it_has_to_and_no_more(servers, name, tmp_path):
    server = servers("mariadb")
    server.execute(*renamed(ACCOUNT, name))
    ostiary = LiveServer(with_account(server.url, name, database=name), tmp_path)
    ostiary.flask("db", "upgrade")
    ostiary.flask("users", "add", "ada@example.com", "--password-stdin", input="correct horse battery")
    assert ostiary.flask_json("config", "check")["ok"]
    refused = ostiary.flask("prove", check=False)
    assert refused.returncode == 1
    assert "must be allowed to create" in refused.stderr
    server.execute(SCRATCH.replace("ostiary@", f"{name}@"))
    place = "ostiary_prove_9999999999_0_1"
    engine = create_engine(ostiary.database_url)
    with engine.begin() as connection:
        database.scratch.create_scratch(connection, place)
        assert database.scratch.find_scratches(connection, "ostiary_prove_") == [place]
        database.scratch.drop_scratch(connection, place)
    engine.dispose()


@pytest.mark.long
def test_back_up_and_restore_of_mariadb(servers, tmp_path):
    programs = [MariaDB.program(name) for name in ("mariadb-dump", "mariadb")]
    if None in programs:
        do_without("mariadb-dump is not installed")
    server = servers("mariadb")
    before, after = (LiveServer(server.new_database(), tmp_path) for _ in range(2))
    before.flask("db", "upgrade")
    before.flask("users", "add", "ada@example.com", "--password-stdin", input="correct horse battery")
    dump, restore = ([program, *client_options(server.url)] for program in programs)
    told = dict(check=True, timeout=30)
    backup = subprocess.run(
        [*dump, *DUMP.split(), make_url(before.database_url).database], capture_output=True, **told
    )
    subprocess.run([*restore, make_url(after.database_url).database], input=backup.stdout, **told)
    assert after.flask_json("config", "check")["problems"] == []
    assert [user["email"] for user in after.flask_json("users", "list")] == ["ada@example.com"]


def client_options(url):
    url = make_url(url)
    password = [f"--password={url.password}"] if url.password else []
    return [
        "--no-defaults",
        f"--host={url.host}",
        f"--port={url.port or 3306}",
        f"--user={url.username}",
        *password,
    ]
