"""What waits for a database that says nothing, and for how long: an answer, a new connection, and whoever
comes after those.
"""

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

import database.bounded_connection
import database.mariadb
import unit_of_work
from database.circuit_breaker import CircuitBreaker
from errors import StorageBusyError
from tests.lines.proxy import COMMIT, Break, Proxy
from tests.lines.scene import SERVED, code_exchange, machine_token, refresh, revocation, scene_on
from tests.live import new_database
from tests.statements import text

pytestmark = pytest.mark.long_on("mariadb")

SECONDS = 1


@pytest.fixture(scope="module", params=SERVED)
def database_url(request, tmp_path_factory, servers):
    return new_database(request.param, tmp_path_factory.mktemp("silence"), servers)


@pytest.fixture(scope="module")
def hasty():
    """The usual times, shorter, in the same order: who waited in vain is not run again."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (database.bounded_connection, database.mariadb):
            monkeypatch.setattr(module, "ANSWER_TIMEOUT", timedelta(seconds=SECONDS))
        monkeypatch.setattr(unit_of_work, "LOST_CONNECTION_SECONDS", SECONDS / 2)
        yield


@pytest.fixture(scope="module")
def scene(hasty, database_url):
    with scene_on(database_url) as scene:
        yield scene


@pytest.mark.threat("T169")
@pytest.mark.parametrize("words", ["", COMMIT])
@pytest.mark.parametrize(
    "kind",
    [
        code_exchange,
        refresh,
        *(pytest.param(kind, marks=pytest.mark.long) for kind in (machine_token, revocation)),
    ],
    ids=lambda kind: kind.__name__,
)
def test_an_answer_that_never_comes_is_given_up(scene, kind, words):
    work = kind(scene)
    before = scene.content()
    scene.proxy.break_next(Break.SILENT, words)
    began = time.monotonic()
    assert work.send().status_code == 503
    assert time.monotonic() - began < SECONDS + 3
    assert len(scene.proxy.broken) == 1
    assert scene.content() == before
    scene.proxy.broken.clear()
    scene.proxy.cut_all()  # the ghost's locks go with it
    assert work.send().status_code == work.status


def test_a_statement_that_is_refused_costs_no_connection(scene):
    with scene.app.app_context():
        engine = unit_of_work.db.engine
        with engine.connect() as connection:
            known = connection.connection.driver_connection
            with pytest.raises(ProgrammingError):
                connection.execute(text("SELECT nothing FROM nowhere"))
        with engine.connect() as connection:
            assert connection.connection.driver_connection is known
            assert connection.execute(text("SELECT 1")).scalar() == 1


def test_a_migration_may_take_its_time(hasty, database_url):
    slow = "SELECT pg_sleep(1.2)" if database_url.startswith("postgresql") else "SELECT sleep(1.2)"
    engine = create_engine(database_url)
    with database.migration_engine(engine).connect() as connection:
        connection.execute(text(slow))
    engine.dispose()


@pytest.mark.long
def test_a_greeting_that_never_comes_is_given_up_too(database_url):
    with Proxy(database_url) as proxy:
        engine = create_engine(proxy.url, **database.engine_options(proxy.url))
        database.prepare(engine)
        proxy.silence_all()
        began = time.monotonic()
        with pytest.raises(OperationalError):
            engine.connect()
        assert time.monotonic() - began < 6
        engine.dispose()


def test_a_connection_goes_back_to_its_pool_without_another_word(scene):
    """After COMMIT the pool has nothing to undo."""
    work = machine_token(scene)
    scene.proxy.break_next(Break.BEFORE, "ROLLBACK")
    assert work.send().status_code == 200
    scene.proxy.forget_faults()
    assert scene.proxy.broken == []


def test_a_connection_goes_back_to_its_pool_without_an_open_transaction(scene, database_url):
    with scene.app.app_context():
        raw = unit_of_work.db.engine.raw_connection()
        raw.cursor().execute("UPDATE client SET client_name = 'half'")
        raw.close()
    with scene.behind.app_context():
        changed = unit_of_work.db.session.execute(
            text("UPDATE client SET client_name = 'whole'")
        )  # nobody holds a lock
        assert changed.rowcount > 0
        unit_of_work.db.session.rollback()


class TestGate:
    @pytest.fixture
    def slow(self):
        """A connect that takes until `let_go()`, in a thread of its own: begun when `start` returns."""
        begun, may_end = threading.Event(), threading.Event()

        def connect():
            begun.set()
            may_end.wait(10)
            return "connected"

        def start(gate):
            thread = threading.Thread(target=gate.connect, args=[connect], daemon=True)
            thread.start()
            begun.wait(10)
            return thread

        yield start
        may_end.set()

    @staticmethod
    def fail():
        raise OperationalError("connect", None, Exception("nobody there"))

    def close(self, gate):
        with pytest.raises(DBAPIError):
            gate.connect(self.fail)

    def test_while_all_is_well_many_connect_at_once(self, slow):
        gate = CircuitBreaker()
        slow(gate)
        assert gate.connect(lambda: "me too") == "me too"

    def test_while_the_database_is_away_one_tries_and_the_others_are_told(self, slow):
        gate = CircuitBreaker()
        self.close(gate)
        slow(gate)
        with pytest.raises(StorageBusyError):
            gate.connect(lambda: "me too")

    def test_who_is_alone_tries_each_time(self):
        gate = CircuitBreaker()
        for _ in range(3):
            self.close(gate)
        assert gate.connect(lambda: "connected") == "connected"

    def test_one_success_opens_it_for_all(self, slow):
        gate = CircuitBreaker()
        self.close(gate)
        gate.connect(lambda: "connected")
        slow(gate)
        assert gate.connect(lambda: "me too") == "me too"
