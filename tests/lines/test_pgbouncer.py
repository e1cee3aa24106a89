"""A PgBouncer before PostgreSQL, set up as docs/operating.md has it: the rules of the tokens hold in both of
its modes.
"""

import json
import re
import shutil
import subprocess
import time
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import make_url

from testing.races.scenarios import neighbours, one_code, one_refresh_token, sign_ins_for_one_session
from tests.flows.driving import race_server
from tests.flows.races import play
from tests.live import PROJECT, START_SECONDS, LiveServer, free_port
from tests.places import an_open_folder, another_account

GUIDE = (PROJECT / "docs/operating.md").read_text()
[WHAT_IT_NEEDS] = re.findall(r"^```ini\n\[pgbouncer\]\n(.*?)```$", GUIDE, re.MULTILINE | re.DOTALL)
[OF_THE_ACCOUNT] = re.findall(r"^```sql\n(ALTER ROLE ostiary .*?)```$", GUIDE, re.MULTILINE | re.DOTALL)
[NOT_PREPARED] = re.findall(r"`\?(prepare_threshold=[a-z]+)`", GUIDE)
RACES = (one_code, one_refresh_token, sign_ins_for_one_session, neighbours)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed"),
]


@pytest.fixture(scope="module")
def open_folder():
    with an_open_folder() as folder:
        yield folder


@pytest.fixture
def database(servers):
    """The URL of a database of the account `ostiary`."""
    server = servers("postgresql")
    url = make_url(server.new_database())
    server.execute(
        "DO $$ BEGIN CREATE ROLE ostiary LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "ALTER ROLE ostiary RESET ALL",
        f"ALTER DATABASE {url.database} OWNER TO ostiary",
    )
    yield url.set(username="ostiary")
    server.execute("ALTER ROLE ostiary RESET ALL")


@contextmanager
def pgbouncer(folder, database, mode, *more, size=4):
    """The URL through one in this mode, with so many connections to the server."""
    folder = folder / f"{mode}-{free_port()}"
    folder.mkdir()
    port = free_port()
    settings = [
        "[databases]",
        f"* = host={database.host} port={database.port}",
        "[pgbouncer]",
        f"listen_port = {port}",
        "listen_addr = 127.0.0.1",
        "unix_socket_dir =",
        "auth_type = trust",
        f"auth_file = {folder}/users",
        f"pool_mode = {mode}",
        f"default_pool_size = {size}",
        *more,
    ]
    (folder / "users").write_text('"ostiary" ""\n')
    (folder / "pgbouncer.ini").write_text("\n".join(settings) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["pgbouncer", folder / "pgbouncer.ini"],
            cwd=folder,
            stdout=log,
            stderr=log,
            user=another_account(),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield database.set(host="127.0.0.1", port=port)
    finally:
        process.kill()
        process.wait(10)


def listens(port):
    try:
        psycopg.connect(
            host="127.0.0.1", port=port, user="ostiary", dbname="postgres", connect_timeout=2
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def text_of(url):
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("mode", "size", "query"),
    [("session", 24, ""), ("transaction", 4, NOT_PREPARED)],
    ids=["session", "transaction"],
)
def test_the_rules_hold_through_it(open_folder, database, servers, tmp_path, mode, size, query):
    """In transaction mode with fewer connections than threads: each transaction has another one."""
    servers("postgresql").execute(*filter(str.strip, OF_THE_ACCOUNT.split(";")))
    with pgbouncer(open_folder, database, mode, WHAT_IT_NEEDS, size=size) as url:
        through = text_of(url.update_query_string(query))
        with race_server(through, tmp_path) as server:
            for race in RACES:
                play(server, race, rounds=3)
            verdict = json.loads(server.flask("config", "check", "--json").stdout)
            assert (
                verdict["problems"],
                [words for words in verdict["warnings"] if "time-outs" in words],
            ) == ([], [])
            assert "prepared statement" not in server.log()
            refused = server.flask("prove", "--rounds", "1", "--seconds", "5", check=False)
            assert refused.returncode == 1
            assert "drops `options`" in refused.stderr
            server.database_url = text_of(database)
            assert server.rows("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'ostiary_prove%'") == [
                (0,)
            ]


def test_what_it_does_without_the_setting_of_the_guide(open_folder, database, tmp_path):
    with pgbouncer(open_folder, database, "session") as url:
        done = LiveServer(text_of(url), tmp_path).flask("config", "check", check=False)
    assert done.returncode == 1
    assert "unsupported startup parameter: options" in done.stderr


def test_what_the_account_was_not_given_is_found(open_folder, database, tmp_path):
    with pgbouncer(open_folder, database, "session", WHAT_IT_NEEDS) as url:
        server = LiveServer(text_of(url), tmp_path)
        server.flask("db", "upgrade")
        done = server.flask("config", "check")
    assert "the time-outs that are set at connect are not in force" in done.stderr
