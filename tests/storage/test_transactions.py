"""What each database is told: isolation, time-outs, durability, and when a transaction begins."""

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import bindparam, create_engine, event, literal
from sqlalchemy.exc import DBAPIError

import database
import store.codes
import store.throttles
import store.tokens
import store.users
from app import create_app
from config import Settings
from crypto.credentials import digest
from database import LockFile
from errors import StorageBusyError
from models import Scope, Throttle, User, db
from protocol import clock
from services.current import state_of
from tests.builders import ISSUER, SECRET_KEY, a_user
from tests.live import PROJECT, MariaDB, do_without, new_database
from tests.statements import delete, insert, select, text, update
from unit_of_work import transaction


@pytest.fixture
def app(database_url):
    app = create_app(Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY))
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


def is_open():
    """Whether the database itself has a transaction open on this session's connection."""
    return db.session.connection().connection.in_transaction


class TestSQLite:
    @pytest.fixture
    def database_url(self, tmp_path):
        return f"sqlite:///{tmp_path / 'ostiary.sqlite3'}"

    def test_reading_opens_nothing_and_waits_for_nobody(self, app, tmp_path):
        other = LockFile(f"{tmp_path / 'ostiary.sqlite3'}.lock")
        other.acquire(timedelta(0))
        assert db.session.scalars(select(User)).all() == []
        assert not is_open()
        other.release()

    def test_the_first_lock_or_write_begins(self, app):
        db.session.add(a_user())
        db.session.flush()
        assert is_open()
        with transaction():
            pass
        db.session.remove()
        assert store.users.lock(1).sub == "sub-of-ada"
        assert is_open()
        db.session.remove()
        assert store.users.find(1).name == "Ada"
        assert not is_open()

    def test_a_reader_sees_what_was_committed_meanwhile(self, app):
        assert db.session.scalars(select(User)).all() == []
        with create_app(state_of(app).settings).app_context():
            with transaction():
                db.session.add(a_user())
            db.session.remove()
            db.engine.dispose()
        assert len(db.session.scalars(select(User)).all()) == 1

    def test_the_queue_is_left_with_the_transaction(self, app, tmp_path):
        lock = LockFile(f"{tmp_path / 'ostiary.sqlite3'}.lock")
        with transaction():
            db.session.add(a_user())
            db.session.flush()
            with pytest.raises(StorageBusyError):
                lock.acquire(timedelta(milliseconds=20))
        lock.acquire(timedelta(seconds=5))
        lock.release()
        db.session.add(a_user(id=2, sub="b", email="b@example.com"))
        db.session.flush()
        db.session.remove()  # undone
        lock.acquire(timedelta(seconds=5))
        lock.release()

    def test_a_commit_is_on_the_disk(self, app):
        pragma = {
            name: db.session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}

    def test_its_files_are_private(self, app, tmp_path):
        with transaction():
            db.session.add(a_user())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert {"ostiary.sqlite3", "ostiary.sqlite3-wal", "ostiary.sqlite3.lock"} <= set(modes)
        assert set(modes.values()) == {0o600}

    def test_a_writer_outside_of_the_queue_is_a_lost_race_and_then_503(self, app, tmp_path, monkeypatch):
        db.session.execute(text("PRAGMA busy_timeout = 0"))
        db.session.remove()
        app.add_url_rule("/api/write", "write", lambda: (store.users.lock(1), "ok")[1])
        outsider = sqlite3.connect(tmp_path / "ostiary.sqlite3", isolation_level=None)
        outsider.execute("BEGIN IMMEDIATE")
        answer = app.test_client().get("/api/write", base_url=ISSUER)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        outsider.execute("ROLLBACK")
        outsider.close()
        assert app.test_client().get("/api/write", base_url=ISSUER).status_code == 200

    def test_a_busy_queue_is_503(self, tmp_path, database_url, monkeypatch):
        monkeypatch.setattr(database.sqlite, "LOCK_FILE_TIMEOUT", timedelta(milliseconds=30))
        app = create_app(Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY))
        with app.app_context():
            db.create_all()
        app.add_url_rule("/api/write", "write", lambda: (store.users.lock(1), "ok")[1])
        lock = LockFile(f"{tmp_path / 'ostiary.sqlite3'}.lock")
        lock.acquire(timedelta(0))
        answer = app.test_client().get("/api/write", base_url=ISSUER)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        lock.release()
        assert app.test_client().get("/api/write", base_url=ISSUER).status_code == 200
        with app.app_context():
            db.engine.dispose()


WAYS_TO_BEGIN = {
    "a lock": lambda: store.users.lock(1),
    "a lock, streamed": store.users.lock_all,
    "a row of the session's": lambda: (db.session.add(a_user(id=2, sub="b", email="b")), db.session.flush()),
    "an INSERT of several": lambda: db.session.execute(
        insert(Scope), [{"name": name, "description": ""} for name in "abc"]
    ),
    "an UPDATE of several": lambda: db.session.execute(
        update(store.users.users)
        .where(store.users.users.c.id == bindparam("number"))
        .values(name="Countess"),
        [{"number": 1}, {"number": 2}],
    ),
    "a DELETE": lambda: db.session.execute(delete(Scope)),
    "a savepoint": lambda: db.session.begin_nested(),
    "a SELECT that is streamed": lambda: db.session.execute(
        select(User.id), execution_options={"stream_results": True}
    ).all(),
    "a SELECT with a CTE, which may write": lambda: db.session.execute(
        select(select(literal(1).label("n")).cte("one"))
    ).all(),
    "a text that writes": lambda: db.session.execute(text("DELETE FROM scope WHERE name = 'x'")),
    "a text that locks": lambda: db.session.execute(text("SELECT id FROM end_user FOR UPDATE")),
    "a text that may write": lambda: db.session.execute(
        text("WITH one AS (SELECT 1 AS n) SELECT n FROM one")
    ),
}
WAYS_TO_READ = {
    "a row of the session's": lambda: store.users.find(1),
    "columns": lambda: store.codes.users_with_codes("web"),
    "a join": lambda: store.tokens.find_by_family(digest("family")),
    "a text": lambda: db.session.scalar(text("SELECT name FROM end_user")),
}


def has_begun():
    """Whether a transaction is open, as the server says in its answers."""
    driver = db.session.connection().connection.driver_connection
    if isinstance(driver, psycopg.Connection):
        return driver.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    return db.session.scalar(text("SELECT @@in_transaction")) == 1


class TestServersBeginLate:
    """PostgreSQL and MariaDB, as SQLite does: at the first lock or write."""

    @pytest.fixture(params=["postgresql", "mariadb"])
    def database_url(self, request, tmp_path, servers):
        return new_database(request.param, tmp_path, servers)

    @pytest.fixture
    def app(self, app):
        with transaction():
            db.session.add(a_user())
        db.session.remove()
        return app

    def test_reading_is_in_no_transaction(self, app):
        for read in WAYS_TO_READ.values():
            read()
            assert not has_begun(), read
            db.session.commit()

    def test_the_first_lock_or_write_begins_and_can_be_undone(self, app):
        for way, begin in WAYS_TO_BEGIN.items():
            assert store.users.find(1).name == "Ada"
            assert not has_begun()
            begin()
            assert has_begun(), way
            db.session.rollback()
            assert not has_begun()
            db.session.remove()
        assert db.session.scalars(select(Scope.name)).all() == []
        assert db.session.scalars(select(User.name)).all() == ["Ada"]

    def test_a_commit_ends_it(self, app):
        with transaction():
            db.session.execute(insert(Scope), {"name": "a", "description": ""})
        assert not has_begun()
        db.session.remove()
        assert db.session.scalars(select(Scope.name)).all() == ["a"]

    def test_who_only_reads_ends_nothing(self, app):
        """Asked of MariaDB, which counts. psycopg looks at the status of its connection as well."""
        if db.engine.dialect.name == "postgresql":
            return
        count_ends = text(
            "SELECT variable_name, variable_value FROM information_schema.session_status"
            " WHERE variable_name IN ('Com_begin', 'Com_commit', 'Com_rollback')"
        )
        before = db.session.execute(count_ends).all()
        for end in (db.session.commit, db.session.rollback, db.session.remove):
            store.users.find(1)
            end()
        assert db.session.execute(count_ends).all() == before

    def test_what_is_committed_meanwhile_is_seen_before_and_after_the_beginning(self, app):
        def rename(name):
            with app.app_context(), transaction():
                db.session.execute(update(User).values(name=name))

        name = select(User.name)
        for begin in (list, lambda: store.throttles.sweep_some(clock.now())):
            begin()
            for new in ("Countess", "Ada"):
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(rename, new).result(10)
                assert db.session.scalar(name) == new

    def test_migrations_begin_at_once(self, app):
        with database.migration_engine(db.engine).connect() as connection:
            connection.execute(text("SELECT 1"))
            driver = connection.connection.driver_connection
            if isinstance(driver, psycopg.Connection):
                assert driver.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
            else:
                assert not driver.get_autocommit()


class TestPostgreSQL:
    @pytest.fixture
    def database_url(self, postgres):
        return postgres().new_database()

    def test_isolation_and_time_outs_cost_no_statement(self, app):
        sent = []
        event.listen(db.engine, "before_cursor_execute", lambda conn, cursor, sql, *rest: sent.append(sql))
        shown = {
            name: db.session.scalar(text(f"SHOW {name}"))
            for name in ("transaction_isolation", "lock_timeout", "statement_timeout", "synchronous_commit")
        }
        assert shown == {
            "transaction_isolation": "read committed",
            "lock_timeout": "2s",
            "statement_timeout": "5s",
            "synchronous_commit": "on",
        }
        assert len(sent) == 4

    def test_the_lock_lets_foreign_key_checks_pass(self, app):
        sent = []
        event.listen(db.engine, "before_cursor_execute", lambda conn, cursor, sql, *rest: sent.append(sql))
        store.users.lock(1)
        assert sent[-1].endswith("FOR NO KEY UPDATE")
        for find in (store.codes.find_and_lock_user, store.tokens.find_family_and_lock_user):
            sent.clear()
            assert find(digest("unknown")) is None
            assert [sql.rpartition("FOR ")[2] for sql in sent] == ["NO KEY UPDATE OF end_user"]


class TestMariaDB:
    @pytest.fixture
    def connection(self, servers):
        engine = create_engine(servers("mariadb").new_database())
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    @pytest.mark.parametrize(
        ("number", "is_away"),
        [
            (3, True),  # COMMIT, when there is no room for the binary log
            (1026, True),  # a file that cannot be written
            (1030, True),  # the engine's disk is full
            (1114, True),  # a table is
            (1040, True),  # too many connections
            (1698, True),  # no access, and no password that would help
            (4151, True),  # the account is locked
            (1205, True),  # a race lost too often
            (1146, False),  # no such table
            (1406, False),  # too long for its column
        ],
    )
    def test_which_errors_are_the_databases_own(self, connection, number, is_away):
        signal = text(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'it says so'")
        with pytest.raises(DBAPIError) as told:
            connection.execute(signal)
        assert told.value.orig.args[0] == number
        assert database.is_unavailable(told.value) is is_away


@pytest.mark.long
class TestMariaDBThatUndoesWholeTransactions:
    """`innodb_rollback_on_timeout`: whoever waits in vain has lost all that it did before, and hears of one
    statement only.
    """

    @pytest.fixture
    def database_url(self, tmp_path, monkeypatch):
        monkeypatch.delenv("TEST_MARIADB_URL", raising=False)
        if not MariaDB.is_there():
            do_without("MariaDB is not installed")
        server = MariaDB(tmp_path, options=(*MariaDB.HASTY, "--innodb-rollback-on-timeout=ON"))
        yield server.new_database()
        server.stop()

    def test_no_half_of_a_request_is_stored(self, app):
        """It sweeps in the middle of what it does, and somebody holds what it would sweep."""
        now = clock.now()
        with transaction():
            db.session.execute(insert(Throttle), {"bucket_digest": digest("held"), "expires_at": now - 1})

        def half_and_half():
            db.session.execute(insert(Scope), {"name": "first half", "description": ""})
            store.throttles.sweep_some(now)
            db.session.execute(insert(Scope), {"name": "second half", "description": ""})
            return "ok"

        app.add_url_rule("/api/halves", "halves", half_and_half)
        with db.engine.connect() as holder:
            holder.execute(select(Throttle.bucket_digest).with_for_update())
            assert app.test_client().get("/api/halves", base_url=ISSUER).status_code == 503
        assert db.session.scalars(select(Scope.name)).all() == []
        db.session.remove()
        assert app.test_client().get("/api/halves", base_url=ISSUER).status_code == 200
        assert sorted(db.session.scalars(select(Scope.name))) == ["first half", "second half"]


class TestLockFile:
    def test_waiters_get_their_turn(self, tmp_path):
        path = str(tmp_path / "lock")
        inside, worst, turns = [], [], []

        def work():
            for _ in range(25):
                lock = LockFile(path)
                lock.acquire(timedelta(seconds=20))
                inside.append(1)
                worst.append(len(inside))
                turns.append(threading.get_ident())
                inside.pop()
                lock.release()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(turns) == 200
        assert max(worst) == 1

    def test_who_gives_up_leaves_the_lock_to_others(self, tmp_path):
        path = str(tmp_path / "lock")
        holder, late, next_one = LockFile(path), LockFile(path), LockFile(path)
        holder.acquire(timedelta(0))
        with pytest.raises(StorageBusyError):
            late.acquire(timedelta(milliseconds=20))
        holder.release()
        next_one.acquire(timedelta(seconds=5))
        next_one.release()

    def test_the_line_has_an_end(self, tmp_path, monkeypatch):
        """A holder that never lets go does not collect a thread and a file for every request."""
        path = str(tmp_path / "lock")
        holder = LockFile(path)
        holder.acquire(timedelta(0))
        before = threading.active_count()
        for _ in range(3 * database.POOL_SIZE):
            with pytest.raises(StorageBusyError):
                LockFile(path).acquire(timedelta(milliseconds=1))
        assert threading.active_count() - before <= 2 * database.POOL_SIZE
        holder.release()
        deadline = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() <= before

    def test_who_finds_no_thread_leaves_no_gap_in_the_line(self, tmp_path, monkeypatch):
        """Otherwise nobody could stand in it once that had happened often enough, until the process ends."""
        path = str(tmp_path / "lock")
        holder, waiter = LockFile(path), LockFile(path)
        holder.acquire(timedelta(0))

        def start(thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as context:
            context.setattr(threading.Thread, "start", start)
            for _ in range(3 * database.POOL_SIZE):
                with pytest.raises(StorageBusyError):
                    waiter.acquire(timedelta(seconds=5))
        threading.Timer(0.05, holder.release).start()
        waiter.acquire(timedelta(seconds=5))
        waiter.release()

    def test_a_process_that_dies_holds_nobody_up(self, tmp_path):
        path = str(tmp_path / "lock")
        hold = (
            "import sys, time, datetime, database\n"
            "database.LockFile(sys.argv[1]).acquire(datetime.timedelta(0))\n"
            "print('held', flush=True)\n"
            "time.sleep(60)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", hold, path], cwd=PROJECT, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "held\n"
            waiter = LockFile(path)
            with pytest.raises(StorageBusyError):
                waiter.acquire(timedelta(0))
            other.kill()
        waiter.acquire(timedelta(seconds=5))
        waiter.release()
