"""The proxy does what the tests of broken lines rely on: each way to break a line, seen from the client and
from the database.
"""

import asyncio
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.lines.proxy import Break, Proxy, read_mysql, read_postgresql
from tests.lines.scene import SERVED
from tests.live import new_database
from tests.statements import text

INSERT = "INSERT INTO note VALUES (1)"
CONNECT_SECONDS = 1
TIME_OUTS = {
    "postgresql": {"connect_timeout": 2},  # libpq takes no less
    # its greeting is an answer
    "mariadb": {"connect_timeout": CONNECT_SECONDS, "read_timeout": CONNECT_SECONDS},
}


@pytest.fixture(scope="module", params=SERVED)
def database(request, tmp_path_factory, servers):
    """An engine on a database with an empty table, without a proxy."""
    engine = create_engine(new_database(request.param, tmp_path_factory.mktemp("proxy"), servers))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE note (id INTEGER)"))
    yield engine
    engine.dispose()


@pytest.fixture
def proxy(database):
    with database.begin() as connection:
        connection.execute(text("DELETE FROM note"))
    with Proxy(database.url.render_as_string(hide_password=False)) as proxy:
        yield proxy


@pytest.fixture
def engine(proxy, database):
    engine = create_engine(proxy.url, connect_args=TIME_OUTS[database.name])
    yield engine
    engine.dispose()


@pytest.fixture
def notes(database):
    """How many were stored, as the database itself says; it may need a moment to see that a line
    has ended.
    """

    def notes():
        with database.connect() as connection:
            return connection.execute(text("SELECT count(*) FROM note")).scalar()

    return notes


def store(engine):
    with engine.begin() as connection:
        connection.execute(text(INSERT))


def test_without_a_fault_everything_passes(engine, proxy, notes):
    store(engine)
    assert notes() == 1
    assert proxy.broken == []


def test_cut_before_commit(engine, proxy, notes):
    proxy.break_next(Break.BEFORE, "COMMIT")
    with pytest.raises(DBAPIError):
        store(engine)
    assert (notes(), proxy.broken) == (0, ["COMMIT"])
    store(engine)  # once only
    assert notes() == 1


def test_cut_after_commit(engine, proxy, notes):
    proxy.break_next(Break.AFTER, "COMMIT")
    with pytest.raises(DBAPIError):
        store(engine)
    assert (notes(), proxy.broken) == (1, ["COMMIT"])


def test_cut_at_the_nth_statement(engine, proxy, notes):
    with engine.connect() as connection:  # the dialect asks the database some things first
        connection.execute(text("SELECT 1"))
    proxy.break_next(Break.BEFORE, number=2)
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(text(INSERT))
        connection.execute(text("SELECT 2"))
    assert (notes(), proxy.broken) == (0, ["SELECT 2"])


def test_a_fault_waits_for_the_transaction_that_it_is_about(engine, proxy, notes):
    proxy.break_next(Break.BEFORE, "COMMIT", about="INSERT INTO note")
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    with pytest.raises(DBAPIError):
        store(engine)
    assert notes() == 0


def test_a_stall_passes(engine, proxy, notes):
    store(engine)
    proxy.stall_seconds = 0.3
    proxy.break_next(Break.STALL, "COMMIT")
    began = time.monotonic()
    store(engine)
    assert time.monotonic() - began >= 0.3
    assert notes() == 2


def test_answers_may_be_slow(engine, proxy):
    store(engine)
    proxy.slow_down(0.1)
    began = time.monotonic()
    store(engine)
    assert time.monotonic() - began >= 0.2  # the statement's and the COMMIT's


def test_all_lines_are_cut_at_once(engine, proxy):
    store(engine)
    proxy.cut_all()
    with pytest.raises(DBAPIError):
        store(engine)
    store(engine)


def test_lines_are_refused(engine, proxy):
    store(engine)
    proxy.refuse()
    for _ in range(2):
        with pytest.raises(OperationalError):
            store(engine)
    proxy.mend()
    store(engine)


def test_new_lines_are_refused_and_old_ones_go_on(engine, proxy, notes):
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        proxy.refuse_new()
        with pytest.raises(OperationalError):
            store(engine)
        connection.execute(text(INSERT))
        connection.commit()
    assert notes() == 1


def test_a_silent_proxy_takes_connections_and_says_nothing(engine, proxy):
    proxy.silence_all()
    began = time.monotonic()
    with pytest.raises(OperationalError):
        store(engine)
    assert time.monotonic() - began >= CONNECT_SECONDS
    proxy.mend()
    store(engine)


def test_a_silent_line_hides_from_the_database_that_the_application_has_gone(engine, proxy, database):
    """Its transaction stays open, and keeps its locks."""
    store(engine)
    connection = engine.connect()
    connection.execute(text("UPDATE note SET id = 2"))
    proxy.silence_all()
    connection.invalidate()
    with pytest.raises(DBAPIError), database.begin() as other:
        other.execute(text(SHORT_WAIT[database.name]))
        other.execute(text("UPDATE note SET id = 3"))
    proxy.cut_all()  # now it does


SHORT_WAIT = {
    "postgresql": "SET LOCAL lock_timeout = '100ms'",
    "mariadb": "SET SESSION innodb_lock_wait_timeout = 1",
}


def statements(read, content):
    """What a reader sees in these bytes, up to where they end."""

    async def collect():
        stream = asyncio.StreamReader()
        stream.feed_data(content)
        stream.feed_eof()
        found, passed = [], b""
        with pytest.raises(asyncio.IncompleteReadError):
            async for message in read(stream):
                passed += message.content
                found.append(message.statement)
        assert passed == content
        return [statement for statement in found if statement is not None]

    with ThreadPoolExecutor(1) as pool:  # of its own: another test's browser may have a loop in this thread
        return pool.submit(lambda: asyncio.run(collect())).result()


def postgresql_message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


START_UP = struct.pack("!II", 8, 196_608)


def test_a_simple_query_of_postgresql():
    assert statements(read_postgresql, START_UP + postgresql_message(b"Q", b"COMMIT\0")) == ["COMMIT"]


def test_an_extended_query_of_postgresql_counts_when_it_is_run():
    parse = postgresql_message(b"P", b"name\0COMMIT\0\0\0")
    bind = postgresql_message(b"B", b"\0name\0\0\0\0\0\0\0")
    run = postgresql_message(b"E", b"\0\0\0\0\0")
    sync = postgresql_message(b"S", b"")
    assert statements(read_postgresql, START_UP + parse + bind + sync) == []
    assert (
        statements(read_postgresql, START_UP + parse + bind + run + sync + bind + run + sync)
        == ["COMMIT"] * 2
    )


def test_a_query_of_mysql_is_the_first_packet_of_its_exchange():
    login = b"\x07\x00\x00\x01\x03secret"
    query = b"\x07\x00\x00\x00\x03COMMIT"
    ping = b"\x01\x00\x00\x00\x0e"
    assert statements(read_mysql, login + ping + query) == ["COMMIT"]
