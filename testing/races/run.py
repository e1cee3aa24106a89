"""Runs the scenarios for so many rounds or so long, and reports the caveats of the database's settings."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.utils import import_string

from config import Settings
from models import db
from services import database_checks
from testing.races.result import BrokenPromiseError, ScenarioResult
from testing.races.scenarios import SCENARIOS, Scenario
from testing.races.testbed import Testbed
from testing.races.workers import WorkerPool, stop_delivery

FACTORY = "app:create_app"


@contextmanager
def open_testbed(settings: Settings, factory: str = FACTORY) -> Iterator[Testbed]:
    """Yield a testbed on an empty database. factory: where `create_app` is, such as `app:create_app`."""
    app: Flask = import_string(factory)(settings)
    stop_delivery(app)
    try:
        with app.app_context():
            db.create_all()
        with WorkerPool(factory, settings) as workers:
            testbed = Testbed(app, settings, workers)
            testbed.warm_up()
            yield testbed
    finally:
        with app.app_context():
            db.engine.dispose()


def find_caveats(*apps: Flask) -> list[str]:
    """Return why the guarantees do not hold with the settings of these apps' databases, and what to do.

    Then they do not hold whatever the results of the races are.
    """
    caveats = []
    for app in apps:
        with app.app_context():
            caveats += [result.text for result in database_checks.run_checks() if result.is_caveat]
    return list(dict.fromkeys(caveats))


def ignore_progress(_rounds: int) -> None:
    """Ignore the progress."""


def run(
    testbed: Testbed, rounds: int, seconds: float, progress: Callable[[int], object] = ignore_progress
) -> list[ScenarioResult]:
    """Run each scenario `rounds` times, all together for `seconds` at most, and each at least once.

    progress: is called with the number of rounds that have ended since; rounds that are left out count too.
    """
    end = time.monotonic() + seconds
    results = []
    for number, scenario in enumerate(SCENARIOS):
        share = (end - time.monotonic()) / (len(SCENARIOS) - number)
        result = run_scenario(testbed, scenario, rounds, share, progress)
        progress(rounds - result.rounds)
        results.append(result)
    return results


def run_scenario(
    testbed: Testbed,
    scenario: Scenario,
    rounds: int,
    seconds: float,
    progress: Callable[[int], object] = ignore_progress,
) -> ScenarioResult:
    """Run one scenario so many times, or for so long, and at least once."""
    testbed.result = result = ScenarioResult(scenario.words)
    end = time.monotonic() + seconds
    while result.rounds < rounds and (result.rounds == 0 or time.monotonic() < end):
        try:
            scenario.play(testbed)
        except BrokenPromiseError as broken:
            result.broken.append(str(broken))
        result.rounds += 1
        progress(1)
    return result
