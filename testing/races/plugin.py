"""A pytest plugin: every scenario of `flask prove` as a test, for those who change Ostiary or its wiring.

Enters: `--prove-app`, `--prove-database-url`, `--prove-rounds`, or ini options of the same names. Leaves:
tests marked `prove`, one for each scenario, and one for the database's settings. A test that fails says which
guarantee was broken. `docs/proving.md` has more.
"""

import math
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from werkzeug.utils import ImportStringError, import_string

import database
from config import Settings
from errors import ConfigError
from models import db
from testing.races.result import BrokenPromiseError
from testing.races.run import FACTORY, find_caveats, open_testbed, run_scenario
from testing.races.scenarios import SCENARIOS, Scenario
from testing.races.scratch import NoScratchDatabaseError, scratch_database
from testing.races.testbed import Testbed
from testing.races.workers import WorkerError

ISSUER = "http://127.0.0.1:8000"  # no server has to listen there
ROUNDS = 20
LONGEST_RUN = timedelta(hours=1)
IN_WORDS = (BrokenPromiseError, NoScratchDatabaseError, WorkerError, ConfigError)
OPTIONS = {
    "app": (FACTORY, "module:function that makes the app from its settings"),
    "database_url": (
        "",
        "the database to race on, in a place of its own; without it an SQLite file that is thrown away",
    ),
    "rounds": (str(ROUNDS), "how often each scenario is played"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("prove", "the promises of Ostiary's tokens")
    for name, (default, words) in OPTIONS.items():
        group.addoption(f"--prove-{name.replace('_', '-')}", help=f"{words} (ini: prove_{name})")
        parser.addini(f"prove_{name}", words, default=default)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prove: a promise of the tokens, raced for")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    url = option(config, "database_url")
    if url and database.is_memory(url):
        raise pytest.UsageError("in-memory SQLite is for the test client alone: there is nothing to race on")
    try:
        import_string(option(config, "app"))
    except ImportStringError as error:
        raise pytest.UsageError(f"{error.import_name} cannot be imported: {error.exception}") from None
    items.extend(Promises.from_parent(session, name="prove", nodeid="prove", path=Path(__file__)).collect())


def option(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"prove_{name}") or config.getini(f"prove_{name}"))


class Promises(pytest.Collector):
    """Collects a test for each guarantee. The first one creates what all share; it is dropped at the end."""

    def collect(self) -> Iterable[pytest.Item]:
        yield Durability.from_parent(self, name="what is acknowledged stays")
        for scenario in SCENARIOS:
            yield Race.from_parent(self, name=scenario.words, scenario=scenario)

    @cached_property
    def rounds(self) -> int:
        return int(option(self.config, "rounds"))

    @cached_property
    def prepared(self) -> "Prepared":
        stack = ExitStack()
        self.config.add_cleanup(stack.close)
        return stack.enter_context(prepare(option(self.config, "app"), option(self.config, "database_url")))


class Prepared(NamedTuple):
    testbed: Testbed
    caveats: list[str]


@contextmanager
def prepare(factory: str, database_url: str) -> Iterator[Prepared]:
    """Yield a testbed for the app of `factory` on a scratch database, and the caveats of its settings."""
    with tempfile.TemporaryDirectory(prefix="ostiary-prove-") as folder:
        url = database_url or f"sqlite:///{folder}/ostiary.sqlite3"
        app: Flask = import_string(factory)(
            Settings(issuer=ISSUER, database_url=url, secret_key=secrets.token_urlsafe(32))
        )
        try:
            with scratch_database(app, LONGEST_RUN) as inside, open_testbed(inside, factory) as testbed:
                yield Prepared(testbed, find_caveats(app, testbed.app))
        finally:
            with app.app_context():
                db.engine.dispose()


class Promise(pytest.Item):
    """A test that fails with the words of what was broken, and without a traceback."""

    parent: Promises

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.add_marker("prove")

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"prove: {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, IN_WORDS) else super().repr_failure(excinfo)


class Durability(Promise):
    def runtest(self) -> None:
        caveats = self.parent.prepared.caveats
        if caveats:
            raise BrokenPromiseError("\n".join(f"VOID: {reason}" for reason in caveats))


class Race(Promise):
    def __init__(self, scenario: Scenario, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario

    def runtest(self) -> None:
        result = run_scenario(self.parent.prepared.testbed, self.scenario, self.parent.rounds, math.inf)
        if result.broken:
            counts = Counter(result.broken).items()
            raise BrokenPromiseError(
                "\n".join(f"BROKEN in {count} of {result.rounds} rounds: {words}" for words, count in counts)
            )
