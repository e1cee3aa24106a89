"""Runs the scenarios for so many rounds or so long, and reports the caveats of the database's settings."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from flask import Flask
from werkzeug.utils import import_string

import services.tenants
from config import Settings
from models import db
from services import database_checks
from services.current import state_of
from services.tenant_state import TenantState, entered
from testing.races.result import BrokenPromiseError, ScenarioResult
from testing.races.scenarios import SCENARIOS, Scenario
from testing.races.testbed import Testbed
from testing.races.workers import WorkerPool, stop_delivery
from unit_of_work import run_in_app

FACTORY = "app:create_app"
TENANT_NAME = "proof"


@contextmanager
def open_testbed(settings: Settings, factory: str = FACTORY) -> Iterator[Testbed]:
    """Yield a testbed on an empty database; where tenants are on, with a tenant of its own.

    factory: where `create_app` is, such as `app:create_app`.
    """
    app: Flask = import_string(factory)(settings)
    stop_delivery(app)
    try:
        with app.app_context():
            db.create_all()
        tenant = provide_tenant(app)
        own = tenant.settings
        with entered(tenant), WorkerPool(factory, settings, own.issuer) as workers:
            testbed = Testbed(app, own, workers)
            testbed.warm_up()
            yield testbed
    finally:
        with app.app_context():
            db.engine.dispose()


def provide_tenant(app: Flask) -> TenantState:
    """Return the tenant that the races are for: home, or a new one where tenants are on."""
    known = state_of(app).tenants
    if not known.is_on:
        return known.home
    with entered(known.home):
        row = run_in_app(app, partial(services.tenants.add, TENANT_NAME, None))
    return known.state_of(row)


def find_caveats(*apps: Flask) -> list[str]:
    """Return why the guarantees do not hold with the settings of these apps' databases, and what to do.

    Then they do not hold whatever the results of the races are.
    """
    caveats = []
    for app in apps:
        with entered(state_of(app).home), app.app_context():
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
