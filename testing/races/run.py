"""Plays the scenes, each so many rounds or so long, and returns their tallies; says what makes them worth
nothing.
"""

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
    """A stage on an empty database, with the tables of the app's own models. factory: where its `create_app`
    is.
    """
    app: Flask = import_string(factory)(settings)
    stop_delivery(app)
    try:
        with app.app_context():
            db.create_all()
        with WorkerPool(factory, settings) as crowd:
            stage = Testbed(app, settings, crowd)
            stage.warm_up()
            yield stage
    finally:
        with app.app_context():
            db.engine.dispose()


def find_caveats(*apps: Flask) -> list[str]:
    """Why promises are void as the databases of these apps are set up, whatever comes out of races; with what
    to do.
    """
    voids = []
    for app in apps:
        with app.app_context():
            voids += [finding.text for finding in database_checks.run_checks() if finding.is_caveat]
    return list(dict.fromkeys(voids))


def nobody(_rounds: int) -> None:
    """Who wants to know nothing of the progress."""


def run(
    stage: Testbed, rounds: int, seconds: float, progress: Callable[[int], object] = nobody
) -> list[ScenarioResult]:
    """Each scene `rounds` times, all together for `seconds` at most and each at least once.

    progress: is told of so many more rounds that are over; those that are left out are over too.
    """
    end = time.monotonic() + seconds
    tallies = []
    for number, scene in enumerate(SCENARIOS):
        share = (end - time.monotonic()) / (len(SCENARIOS) - number)
        tally = run_scenario(stage, scene, rounds, share, progress)
        progress(rounds - tally.rounds)
        tallies.append(tally)
    return tallies


def run_scenario(
    stage: Testbed, scene: Scenario, rounds: int, seconds: float, progress: Callable[[int], object] = nobody
) -> ScenarioResult:
    """One scene so many times, or for so long, and at least once."""
    stage.tally = tally = ScenarioResult(scene.words)
    end = time.monotonic() + seconds
    while tally.rounds < rounds and (tally.rounds == 0 or time.monotonic() < end):
        try:
            scene.play(stage)
        except BrokenPromiseError as broken:
            tally.broken.append(str(broken))
        tally.rounds += 1
        progress(1)
    return tally
