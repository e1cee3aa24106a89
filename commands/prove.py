"""`flask prove`: the rules of the tokens, raced for on the operator's own database, in a place of its own that is dropped after.

Enters: the settings in force. Leaves: a table of what was tried and what came out; exit code 1 where a promise was broken, or where
the database is set up so that it cannot be kept.
"""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError, InvalidRequestError

import database
from commands.output import (
    IS_MYSQL,
    NOT_MIGRATED,
    Answer,
    Refused,
    busy_problem,
    counted,
    database_problem,
    json_option,
    show,
    table,
)
from current import settings
from errors import StorageBusyError
from prove.crowd import CrowdError
from prove.place import NoPlaceError, place_of_its_own
from prove.run import find_voids, open_stage, play
from prove.scenes import SCENES
from prove.tally import Tally

ROUNDS = 100
SECONDS = 40
LONGEST = timedelta(hours=1)
SPARE = timedelta(minutes=5)  # to start, to end the last round, and to drop what was made
COLUMNS = ("scene", "rounds", "answers", "retries", "p50_ms", "p99_ms", "outcome")


class Proof(NamedTuple):
    tallies: Sequence[Tally]
    voids: Sequence[str]  # why this database cannot keep what was raced for, however the races ended


@click.command("prove")
@click.option("--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True, help="Of each scene.")
@click.option(
    "--seconds",
    type=click.IntRange(1, LONGEST // timedelta(seconds=1)),
    default=SECONDS,
    show_default=True,
    help="All scenes together take no longer, however many rounds are left; each is played once.",
)
@json_option
@click.pass_context
@with_appcontext
def prove(context: click.Context, rounds: int, seconds: int, as_json: bool) -> None:
    """Race for tokens on this database, in a place of its own: no row of yours is read or changed.

    Exit code 1 where a promise was broken, or where the way the database is set up makes them void.
    """
    if database.is_memory(settings.database_url):
        raise Refused("in-memory SQLite is for the test client alone: there is nothing to prove")
    if not database.is_there(settings.database_url):  # connecting would make it
        raise Refused(NOT_MIGRATED)
    try:
        proof = find_proof(rounds, seconds)
    except NoPlaceError as error:
        raise Refused(str(error)) from None
    except DBAPIError as error:
        raise Refused(database_problem(error)) from None
    except InvalidRequestError:
        raise Refused(IS_MYSQL) from None
    except (CrowdError, StorageBusyError) as error:
        raise Refused(f"the proof ended early: {error or busy_problem(error)}") from None
    show(report(proof, rounds), as_json)
    if not is_kept(proof):
        context.exit(1)


def find_proof(rounds: int, seconds: int) -> Proof:
    """All scenes, with a progress bar where somebody sees it; what voids them, in the operator's own tables and in the place."""
    app: Flask = cast(Any, current_app)._get_current_object()
    with (
        place_of_its_own(app, timedelta(seconds=seconds) + SPARE) as inside,
        open_stage(inside) as stage,
        click.progressbar(
            length=rounds * len(SCENES), label="Racing", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar,
    ):
        return Proof(play(stage, rounds, seconds, progress=bar.update), find_voids(app, stage.app))


def is_kept(proof: Proof) -> bool:
    return not proof.voids and all(tally.is_kept for tally in proof.tallies)


def report(proof: Proof, rounds: int) -> Answer:
    broken = [f"{tally.scene}: {promise}" for tally in proof.tallies for promise in dict.fromkeys(tally.broken)]
    cut = [tally.scene for tally in proof.tallies if tally.rounds < rounds]
    document = {
        "kept": is_kept(proof),
        "scenes": [tally.document() for tally in proof.tallies],
        "voids": list(proof.voids),
    }
    messages = (
        *(f"{counted(len(cut), 'scene')} ended before {rounds} rounds: give more --seconds for all." for _ in cut[:1]),
        *(f"BROKEN: {promise}" for promise in broken),
        *(f"VOID: {reason}" for reason in proof.voids),
        verdict(broken, proof.voids),
    )
    return Answer(document, table([tally.row() for tally in proof.tallies], COLUMNS), messages)


def verdict(broken: Sequence[Any], voids: Sequence[str]) -> str:
    if broken:
        return "A promise was broken."
    if voids:
        return "The races were won, but as this database is set up the promises are void."
    return "Every promise was kept."
