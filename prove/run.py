"""Plays the scenes, each so many rounds or so long, and returns their tallies."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.utils import import_string

from config import Settings
from models import db
from prove.crowd import Crowd, stop_courier
from prove.scenes import SCENES, Scene
from prove.stage import Stage
from prove.tally import BrokenPromiseError, Tally

FACTORY = "app:create_app"


@contextmanager
def open_stage(settings: Settings, factory: str = FACTORY) -> Iterator[Stage]:
    """A stage on an empty database, with the tables of the app's own models. factory: where its `create_app` is."""
    app: Flask = import_string(factory)(settings)
    stop_courier(app)
    try:
        with app.app_context():
            db.create_all()
        with Crowd(factory, settings) as crowd:
            stage = Stage(app, settings, crowd)
            stage.warm_up()
            yield stage
    finally:
        with app.app_context():
            db.engine.dispose()


def play(stage: Stage, rounds: int, seconds: float, after_round: Callable[[], object] = lambda: None) -> list[Tally]:
    """Each scene `rounds` times, all together for `seconds` at most and each at least once."""
    end = time.monotonic() + seconds
    tallies = []
    for number, scene in enumerate(SCENES):
        share = (end - time.monotonic()) / (len(SCENES) - number)
        tallies.append(play_scene(stage, scene, rounds, share, after_round))
    return tallies


def play_scene(
    stage: Stage, scene: Scene, rounds: int, seconds: float, after_round: Callable[[], object] = lambda: None
) -> Tally:
    """One scene so many times, or for so long, and at least once."""
    stage.tally = tally = Tally(scene.words)
    end = time.monotonic() + seconds
    while tally.rounds < rounds and (tally.rounds == 0 or time.monotonic() < end):
        try:
            scene.play(stage)
        except BrokenPromiseError as broken:
            tally.broken.append(str(broken))
        tally.rounds += 1
        after_round()
    return tally
