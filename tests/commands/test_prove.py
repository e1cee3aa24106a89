"""`flask prove`: races on the operator's own database, in a place of its own that never stays."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import create_engine as engine_for
from sqlalchemy import func, inspect, make_url, select, table

import database.scratch
from app import create_app
from commands.prove import Proof, report
from config import Settings
from models import Client, db
from testing.races import scratch
from testing.races.result import ScenarioResult
from testing.races.run import find_caveats, open_testbed, run_scenario
from testing.races.scenarios import SCENARIOS
from testing.races.workers import Answer
from tests import statements
from tests.builders import ISSUER, SECRET_KEY
from tests.crashes.server_kills import DATABASES
from tests.flows import mutations
from tests.live import ENGINES, LiveServer, MariaDB, do_without, new_database
from tests.places import an_open_folder
from unit_of_work import transaction

PATIENCE_SECONDS = 30
BRIEFLY = ("prove", "--rounds", "1", "--seconds", "5")
LONG_ENGINES = [
    pytest.param(name, marks=[pytest.mark.long] if name != "sqlite" else []) for name in ENGINES
]  # a second each to start
VOID = "The races were won, but as this database is set up the promises are void.\n"
NOT_DURABLE = [
    "innodb_flush_log_at_trx_commit is 0 on the MariaDB server, set it to 1: what was acknowledged"
    " may be lost in a crash",
    "innodb_doublewrite is 0 on the MariaDB server, set it to 1: what was acknowledged may be lost in"
    " a crash",
]
NO_WAIT_FOR_THE_DISK = [
    mutations.Replacement("database/sqlite.py", '"synchronous = FULL"', '"synchronous = NORMAL"')
]


def server_on(url, folder, **options):
    """Where `flask prove` finds its database; nothing listens."""
    server = LiveServer(url, folder, **options)
    server.migrate()
    return server


@pytest.fixture(params=LONG_ENGINES)
def server(request, tmp_path, servers):
    return server_on(new_database(request.param, tmp_path, servers), tmp_path)


@pytest.fixture(params=LONG_ENGINES)
def durable(request, integration):
    """One whose database waits for the disk, as the servers that the other tests share do not."""
    if request.param == "mariadb" and not MariaDB.can_be_killed():
        do_without("MariaDB is not installed, or TEST_MARIADB_URL names one that is not ours")
    with an_open_folder() as folder, DATABASES[request.param](folder, is_durable=True) as (url, _process):
        yield server_on(url, folder)


def places_of(server):
    engine = engine_for(server.database_url)
    try:
        with engine.connect() as connection:
            return database.scratch.find_scratches(connection, scratch.PREFIX)
    finally:
        engine.dispose()


def tables_of(server):
    """The operator's tables, each with the number of its rows."""
    engine = engine_for(server.database_url)
    try:
        with engine.connect() as connection:
            names = inspect(connection).get_table_names()
            return {name: connection.scalar(select(func.count()).select_from(table(name))) for name in names}
    finally:
        engine.dispose()


def running(server, *arguments):
    """`flask prove` in a group of processes of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments],
        cwd=server.source,
        env=server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background jobs ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_promise_is_kept_and_nothing_stays(durable):
    server = durable
    server.flask("users", "add", "ada@example.com", "--password-stdin", input="correct horse battery")
    before = tables_of(server)
    done = server.flask(*BRIEFLY, "--json")
    document = json.loads(done.stdout)
    assert (document["kept"], document["voids"]) == (True, [])
    assert [scene["scene"] for scene in document["scenes"]] == [scene.words for scene in SCENARIOS]
    assert all(scene["rounds"] == 1 and not scene["broken"] for scene in document["scenes"])
    assert all(scene["requests"] >= 8 and scene["server_errors"] == 0 for scene in document["scenes"])
    assert done.stderr.startswith("Every promise was kept.\n")
    assert places_of(server) == []
    assert tables_of(server) == before


@pytest.mark.long
@pytest.mark.integration
def test_where_tenants_are_on_every_promise_is_kept_for_one(tmp_path):
    """On SQLite: what it races for is held by the same statements on each engine."""
    url = f"sqlite:///{tmp_path / 'ostiary.sqlite3'}"
    server = server_on(url, tmp_path, tenants="on")
    server.flask("tenants", "add", "acme")
    before = tables_of(server)
    done = server.flask(*BRIEFLY, "--json")
    scenes = json.loads(done.stdout)["scenes"]
    assert [(scene["rounds"], scene["broken"]) for scene in scenes] == [(1, {}) for _ in SCENARIOS]
    assert tables_of(server) == before


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tenants", "path", "number"), [pytest.param("off", "", 1, marks=pytest.mark.long), ("on", "/t/proof", 2)]
)
def test_the_races_are_for_a_tenant_of_their_own_or_for_home(tmp_path, tenants, path, number):
    url = f"sqlite:///{tmp_path / 'ostiary.sqlite3'}"
    settings = Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY, tenants=tenants)
    with open_testbed(settings) as testbed:
        assert testbed.settings.issuer == ISSUER + path
        result = run_scenario(testbed, SCENARIOS[0], 1, PATIENCE_SECONDS)
        assert (result.rounds, result.broken) == (1, [])
        with testbed.app.app_context():
            rows = db.session.execute(statements.select(Client.tenant_id)).all()
            db.session.remove()
        assert set(rows) == {(number,)}


def prove_in_vain(server, run=LiveServer.flask):
    """What makes void what was won."""
    done = run(server, *BRIEFLY, "--json", check=False)
    document = json.loads(done.stdout)
    assert (done.returncode, document["kept"]) == (1, False)
    assert all(scene["rounds"] == 1 and not scene["broken"] for scene in document["scenes"])
    assert done.stderr == "".join(f"VOID: {reason}\n" for reason in document["voids"]) + VOID
    assert places_of(server) == []
    return document["voids"]


@pytest.mark.long
def test_a_database_that_does_not_wait_for_the_disk_keeps_nothing(tmp_path, servers):
    """By the options of a URL; the operator's tables are not even there."""
    url = make_url(new_database("postgresql", tmp_path, servers))
    url = url.update_query_dict({"options": "-c synchronous_commit=off"}).render_as_string(
        hide_password=False
    )
    voids = prove_in_vain(LiveServer(url, tmp_path))
    assert "synchronous_commit is off" in voids[-1]


@pytest.mark.long
def test_nor_does_sqlite_that_only_hands_over(tmp_path):
    """In a copy of the project: there is no setting for it."""
    source = mutations.mutated_copy(NO_WAIT_FOR_THE_DISK, tmp_path / "source")
    server = server_on(f"sqlite:///{tmp_path / 'ostiary.sqlite3'}", tmp_path, source=source)
    [reason] = prove_in_vain(server, LiveServer.flask_process)
    assert reason.startswith("SQLite does not wait for the disk (synchronous)")


@pytest.mark.long
def test_a_table_without_transactions_keeps_nothing(tmp_path, servers):
    server = server_on(new_database("mariadb", tmp_path, servers), tmp_path)
    name = make_url(server.database_url).database
    changes = ("DROP FOREIGN KEY fk_scope_tenant_id_tenant", "ENGINE=MyISAM")  # which has no references
    servers("mariadb").execute(*(f"ALTER TABLE {name}.scope {change}" for change in changes))
    assert prove_in_vain(server) == [
        *NOT_DURABLE,
        "the table scope has no transactions: ALTER TABLE scope ENGINE=InnoDB",
    ]


@pytest.mark.long
def test_nor_does_one_that_is_not_logged(tmp_path, servers):
    server = server_on(new_database("postgresql", tmp_path, servers), tmp_path)
    app = create_app(server.settings())
    with app.app_context(), transaction():
        db.session.execute(statements.text("ALTER TABLE scope SET UNLOGGED"))
    *_not_durable, reason = find_caveats(app)
    assert reason == "the table scope is not logged, and emptied by a crash: ALTER TABLE scope SET LOGGED"
    with app.app_context():
        db.engine.dispose()


@pytest.mark.long
def test_a_run_that_is_interrupted_or_killed_leaves_nothing_for_long(server):
    """Ctrl-C drops the place at once. Who is killed cannot: the next run does."""
    interrupted = running(server, "prove", "--rounds", "100000")
    wait_for(lambda: places_of(server))
    time.sleep(1)  # in the middle of it, or on the way there
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.wait(PATIENCE_SECONDS) == 1
    assert "Traceback" not in interrupted.communicate()[1]
    assert places_of(server) == []

    killed = running(server, "prove", "--rounds", "100000")
    wait_for(lambda: places_of(server))
    killed.kill()
    killed.communicate(timeout=PATIENCE_SECONDS)
    assert len(places_of(server)) == 1
    server.flask_process(*BRIEFLY, check=False)  # on some engines these servers do not wait for the disk
    assert places_of(server) == []


@pytest.mark.long
def test_a_broken_rule_is_noticed(tmp_path, servers):
    """With the claim of a code ignored, in a copy of the project; on SQLite the lock would hide that."""
    source = mutations.mutated_copy(mutations.NO_LOCK_AND_NO_CLAIM_OF_THE_CODE, tmp_path / "source")
    server = LiveServer(new_database("sqlite", tmp_path, servers), tmp_path, source=source)
    server.migrate()
    done = server.flask_process(*BRIEFLY, check=False)
    assert done.returncode == 1
    assert re.search(r"^BROKEN: one code for many: one code, \d winners$", done.stderr, re.MULTILINE)
    assert done.stderr.endswith("A promise was broken.\n")
    assert re.search(r"^one code for many .* BROKEN in 1 round$", done.stdout, re.MULTILINE)


@pytest.mark.integration
def test_in_memory_sqlite_has_nothing_to_prove(tmp_path):
    server = LiveServer("sqlite://", tmp_path)
    done = server.flask("prove", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "in-memory" in done.stderr


@pytest.mark.integration
def test_a_database_that_is_away(tmp_path):
    done = LiveServer("postgresql+psycopg://nobody@127.0.0.1:1/none", tmp_path).flask("prove", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the database cannot be used: ")


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine", "statements"),
    [
        ("postgresql", ["CREATE ROLE {name} LOGIN"]),
        ("mariadb", ["CREATE USER {name}", "GRANT ALL ON {name}.* TO {name}"]),
    ],
    ids=["postgresql", "mariadb"],
)
def test_a_user_who_may_make_no_place(tmp_path, servers, engine, statements):
    url = make_url(new_database(engine, tmp_path, servers))
    servers(engine).execute(*(statement.format(name=url.database) for statement in statements))
    limited = url.set(username=url.database).render_as_string(hide_password=False)
    done = LiveServer(limited, tmp_path).flask("prove", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "must be allowed to create a schema of its own" in done.stderr


class TestNames:
    def test_our_own_process_has_not_made_one_yet(self):
        assert scratch.is_left_over(scratch.new_name(timedelta(minutes=1)))

    def test_one_of_a_process_that_runs_here_is_in_use(self):
        name = scratch.new_name(timedelta(minutes=1)).replace(f"_{os.getpid()}", f"_{os.getppid()}")
        assert not scratch.is_left_over(name)

    def test_one_of_another_machine_is_in_use_until_its_time_is_over(self, monkeypatch):
        name = scratch.new_name(timedelta(minutes=1))
        late = scratch.new_name(-timedelta(minutes=1))
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
        assert not scratch.is_left_over(name)
        assert scratch.is_left_over(late)

    @pytest.mark.parametrize("name", ["ostiary_prove_", "ostiary_prove_x_y_z", "ostiary_proven_1_ab_2"])
    def test_what_is_named_otherwise_is_somebody_elses(self, name):
        assert not scratch.is_left_over(name)


class TestPlaces:
    @pytest.mark.parametrize(
        ("url", "inside"),
        [
            ("sqlite:////var/lib/ostiary.sqlite3", "sqlite:////var/lib/p_1.sqlite3"),
            ("mariadb+pymysql://u:p@db/ostiary?ssl_ca=x", "mariadb+pymysql://u:p@db/p_1?ssl_ca=x"),
            (
                "postgresql+psycopg://u:p@db/ostiary",
                "postgresql+psycopg://u:p@db/ostiary?options=-c+search_path%3Dp_1",
            ),
        ],
    )
    def test_its_url_differs_in_the_place_alone(self, url, inside):
        assert database.scratch.scratch_url(url, "p_1") == inside

    def test_options_of_the_operator_stay(self):
        url = database.scratch.scratch_url("postgresql://db/ostiary?options=-c work_mem=8MB", "p_1")
        assert make_url(url).query["options"] == "-c work_mem=8MB -c search_path=p_1"


class TestReport:
    """What is printed, and when all is well."""

    @staticmethod
    def of(voids=(), broken=()):
        return report(Proof([ScenarioResult("a scene", rounds=3, broken=list(broken))], voids), rounds=3)

    def test_all_is_well(self):
        answer = self.of()
        assert (answer.data["kept"], answer.messages) == (True, ("Every promise was kept.",))

    def test_races_that_were_won_for_nothing(self):
        answer = self.of(voids=["fsync is off"])
        assert (answer.data["kept"], answer.data["voids"]) == (False, ["fsync is off"])
        assert answer.messages == ("VOID: fsync is off", VOID.strip())

    def test_what_was_broken_is_said_once_and_first(self):
        answer = self.of(voids=["fsync is off"], broken=["two winners", "two winners"])
        assert answer.data["kept"] is False
        assert answer.messages == (
            "BROKEN: a scene: two winners",
            "VOID: fsync is off",
            "A promise was broken.",
        )


class TestTally:
    @staticmethod
    def answers(*statuses):
        return [Answer(status, "", "", number / 1000) for number, status in enumerate(statuses, 1)]

    def test_counts_answers_and_retries(self):
        tally = ScenarioResult("a scene", rounds=2)
        tally.note(self.answers(200, 400, 503), Counter({"OperationalError 1213": 2}))
        row = tally.document()
        assert (row["requests"], row["answers"], row["server_errors"]) == (
            3,
            {"200": 1, "400": 1, "503": 1},
            1,
        )
        assert (row["retries"], row["unique_key_retries"]) == ({"OperationalError 1213": 2}, 0)
        assert (row["p50_ms"], row["p99_ms"], row["outcome"]) == (2.0, 3.0, "kept")

    @pytest.mark.parametrize(
        "reason",
        [
            "IntegrityError SQLITE_CONSTRAINT_UNIQUE",
            "UniqueViolation 23505 uq_token_client_id_user_id_slot",
            "IntegrityError 1062 uq_token_client_id_user_id_slot",
        ],
    )
    def test_knows_the_unique_key_in_each_drivers_words(self, reason):
        tally = ScenarioResult("a scene")
        tally.note([], Counter({reason: 3}))
        assert tally.unique_key_retries == 3

    def test_what_was_never_played_is_not_kept(self):
        assert not ScenarioResult("a scene").is_kept
        assert not ScenarioResult("a scene", rounds=1, broken=["a promise"]).is_kept
        assert ScenarioResult("a scene", rounds=1).is_kept
