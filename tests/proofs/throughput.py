"""What the safe design costs: replacements of tokens a second, against the bare DELETE and INSERT, on
connections of one engine.

Enters: the URL of a fresh database. Leaves: how many replacements each design made in each round. Both send
statements through the product's own engine, from several processes, each with people of its own (calm) and
without the web around it. The bare design reads the person without a lock, deletes the pair, inserts, and has
no unique key on it: it is as fast as it is wrong.
"""

import itertools
import os
import statistics
import time
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Index, create_engine
from sqlalchemy.schema import CreateIndex, DropConstraint, UniqueConstraint

import database
from database.scratch import create_scratch, scratch_url
from database.tables import table
from database.tenancy import HOME
from models import Base, Token, User
from my_oauth import DELETE_ALL_BUT_THE_NEWEST, INSERT_TOKEN
from protocol import clock
from store.users import LOCK
from testing.races.workers import START_SECONDS, ProcessPool
from tests.builders import a_client, a_user
from tests.statements import delete, insert, select

PROCESSES = 4
PEOPLE = 50  # of each process, in turn
WARM_UP_SECONDS = 0.3
SAFE, BARE = "safe", "bare"
BARE_PLACE = "bare"

tokens, people = table(Token), table(User)
READ_PERSON = select(people).where(LOCK.statement.whereclause)
DELETE_PAIR = delete(tokens).where(*DELETE_ALL_BUT_THE_NEWEST.statement.whereclause.clauses[:3])
STATEMENTS = {
    SAFE: (LOCK.statement, DELETE_ALL_BUT_THE_NEWEST.statement, INSERT_TOKEN.statement),
    BARE: (READ_PERSON, DELETE_PAIR, insert(tokens)),
}
COLUMNS = [column.key for column in tokens.columns if column.key != "id"]


# ---- two databases -----------------------------------------------------------------------------------------


@contextmanager
def engine_for(url):
    """An engine as the product makes it."""
    engine = create_engine(url, **database.engine_options(url))
    database.prepare(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def prepare(url, processes):
    """Make the tables of the safe design, with everybody who will have a token."""
    with engine_for(url) as engine, engine.begin() as connection:
        Base.metadata.create_all(connection)
        for model in (
            a_client(),
            *(a_user(id=n, sub=str(n), email=str(n)) for n in range(1, processes * PEOPLE + 1)),
        ):
            columns = {column.key: getattr(model, column.key) for column in model.__table__.columns}
            given = {name: value for name, value in columns.items() if value is not None}
            connection.execute(insert(model.__table__), given)


def prepare_bare(url, processes):
    """The same in a place of its own, with a plain index in place of the unique key; returns its URL."""
    with engine_for(url) as engine, engine.begin() as connection:
        create_scratch(connection, BARE_PLACE)
    bare_url = scratch_url(url, BARE_PLACE)
    prepare(bare_url, processes)
    [key] = [key for key in tokens.constraints if isinstance(key, UniqueConstraint) and "slot" in key.columns]
    pair = Index("ix_bare_pair", tokens.c.tenant_id, tokens.c.client_id, tokens.c.user_id)
    tokens.indexes.discard(pair)  # of the bare table alone
    with engine_for(bare_url) as engine, engine.begin() as connection:
        connection.execute(CreateIndex(pair))
        connection.execute(DropConstraint(key, isolate_from_table=False))  # every other table keeps it
    return bare_url


# ---- replacements ------------------------------------------------------------------------------------------


class Compiled(NamedTuple):
    """A statement in the words of one driver."""

    sql: str
    names: tuple[str, ...] | None  # of its parameters in order, where the driver takes them so
    defaults: dict

    @classmethod
    def of(cls, statement, dialect):
        is_insert = statement.is_insert
        compiled = statement.compile(dialect=dialect, column_keys=COLUMNS if is_insert else None)
        return cls(compiled.string, compiled.positiontup and tuple(compiled.positiontup), compiled.params)

    def send(self, connection, values):
        parameters = {name: values.get(name, default) for name, default in self.defaults.items()}
        return connection.exec_driver_sql(
            self.sql, tuple(parameters[name] for name in self.names) if self.names else parameters
        )


def new_values(user_id):
    values = dict.fromkeys(COLUMNS)
    now = clock.now()
    return values | {
        "tenant_id": HOME,
        "client_id": "web",
        "user_id": user_id,
        "keep": 0,
        "slot": 0,
        "scope": "profile email",
        "access_token_scope": "profile email",
        "access_token_digest": os.urandom(32),
        "access_token_expires_at": now + 600,
        "issued_at": clock.now_in_microseconds(),
        "family_digest": os.urandom(32),
        "refresh_token_digest": os.urandom(32),
        "refresh_token_expires_at": now + 3600,
        "code_digest": os.urandom(32),
    }


def replace(engine, statements, user_id):
    """One replacement, in one transaction; the connection goes back to the pool after it, as a request's
    does.
    """
    values = new_values(user_id)
    with engine.connect() as connection:
        for statement in statements:
            statement.send(connection, values)
        connection.commit()


def work(urls, end):
    """A process of the crew: makes replacements of the design, for the seconds and for the people that it is
    told, and says how many.
    """
    with engine_for(urls[SAFE]) as safe, engine_for(urls.get(BARE, urls[SAFE])) as bare:
        engines = {SAFE: safe, BARE: bare}
        end.send("ready")
        while True:
            try:
                design, seconds, number = end.recv()
            except (EOFError, ConnectionError):
                return
            user_ids = itertools.cycle(range(number * PEOPLE + 1, (number + 1) * PEOPLE + 1))
            statements = [Compiled.of(statement, engines[design].dialect) for statement in STATEMENTS[design]]
            stop = time.perf_counter() + seconds
            count = 0
            while time.perf_counter() < stop:
                replace(engines[design], statements, next(user_ids))
                count += 1
            end.send(count)


class Crew(ProcessPool):
    """Processes that replace tokens, each for people of its own."""

    def __init__(self, urls, processes):
        super().__init__(processes, work, urls)

    def rate(self, design, seconds):
        """Replacements a second of all processes together."""
        for number, end in enumerate(self.ends):
            end.send((design, seconds, number))
        return sum(self.hear(seconds + START_SECONDS)) / seconds


class Cost(NamedTuple):
    """Replacements a second of each design, round by round; the rounds of both take turns."""

    safe: list[float]
    bare: list[float]

    @property
    def share(self):
        """Of the bare design's throughput: the median of the rounds."""
        return 1 - statistics.median(safe / bare for safe, bare in zip(self.safe, self.bare, strict=True))


def measure_cost(url, rounds, seconds, processes=PROCESSES):
    """`url`: of a fresh database on a server."""
    prepare(url, processes)
    urls = {SAFE: url, BARE: prepare_bare(url, processes)}
    cost = Cost([], [])
    with Crew(urls, processes) as crew:
        for design in (SAFE, BARE):
            crew.rate(design, WARM_UP_SECONDS)
        for number in range(rounds):
            for design in (SAFE, BARE) if number % 2 else (BARE, SAFE):
                getattr(cost, design).append(crew.rate(design, seconds))
    return cost


def measure_queue(url, rounds, seconds, processes):
    """The median rate of so many processes that queue for the one writer's place of an SQLite file."""
    prepare(url, processes)
    with Crew({SAFE: url}, processes) as crew:
        crew.rate(SAFE, WARM_UP_SECONDS)
        return statistics.median(crew.rate(SAFE, seconds) for _ in range(rounds))
