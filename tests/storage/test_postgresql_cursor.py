"""The cursor of a PostgreSQL connection describes its columns as psycopg's does, and only to who asks."""

import psycopg
import pytest
from sqlalchemy import create_engine, literal

import database
from tests.live import new_database
from tests.statements import select

TWO_COLUMNS = "SELECT 1 AS one, 'a' AS letter"


@pytest.fixture
def engine(tmp_path, servers):
    url = new_database("postgresql", tmp_path, servers)
    engine = create_engine(url, **database.engine_options(url))
    database.prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def cursor(engine):
    connection = engine.raw_connection()
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


def test_columns_are_described_as_psycopg_does(cursor):
    cursor.execute(TWO_COLUMNS)
    described = psycopg.Cursor.description.fget(cursor)
    assert [list(column) for column in cursor.description] == [list(column) for column in described]
    assert len(cursor.description) == 2
    assert (cursor.description[0].name, cursor.description[-1].name) == ("one", "letter")


@pytest.mark.parametrize("sql", ["SELECT", "SET LOCAL lock_timeout = 0"])
def test_what_has_no_columns(cursor, sql):
    assert cursor.description is None
    cursor.execute(sql)
    assert cursor.description == psycopg.Cursor.description.fget(cursor)


def test_a_statement_that_is_known_describes_none(engine, monkeypatch):
    made = []
    column = psycopg.Column.__init__
    monkeypatch.setattr(psycopg.Column, "__init__", lambda *given: (made.append(1), column(*given))[1])
    with engine.connect() as connection:
        for expected in (2, 0):
            made.clear()
            assert connection.execute(select(literal(1), literal("a"))).one() == (1, "a")
            assert len(made) == expected
