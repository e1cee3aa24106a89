"""`flask prove`: the rules of the tokens, raced for on the operator's own database, in a place of its own
that is dropped after.

Enters: the settings in force. Leaves: a table of what was tried and what came out; exit code 1 where a
promise was broken, or where the database is set up so that it cannot be kept.
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
from commands.formatting import counted, table
from commands.output import (
    IS_MYSQL,
    NOT_MIGRATED,
    CommandError,
    Result,
    busy_problem,
    database_problem,
    json_option,
    show,
)
from errors import StorageBusyError
from services.current import settings
from testing.races.result import ScenarioResult
from testing.races.run import find_caveats, open_testbed, run
from testing.races.scenarios import SCENARIOS
from testing.races.scratch import NoScratchDatabaseError, scratch_database
from testing.races.workers import WorkerError

ROUNDS = 100
SECONDS = 40
LONGEST = timedelta(hours=1)
SPARE = timedelta(minutes=5)  # to start, to end the last round, and to drop what was made
COLUMNS = ("scene", "rounds", "answers", "retries", "p50_ms", "p99_ms", "outcome")


class Proof(NamedTuple):
    tallies: Sequence[ScenarioResult]
    voids: Sequence[str]  # why this database cannot keep what was raced for, however the races ended


@click.command("prove")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True, help="Of each scenario."
)
@click.option(
    "--seconds",
    type=click.IntRange(1, LONGEST // timedelta(seconds=1)),
    default=SECONDS,
    show_default=True,
    help="The limit for all scenarios together. Each is played at least once.",
)
@json_option
@click.pass_context
@with_appcontext
def prove(context: click.Context, rounds: int, seconds: int, as_json: bool) -> None:
    """Race for tokens on this database, in a scratch database: no row of yours is read or changed.

    Exit code 1 if a promise was broken, or if the settings of the database make the promises worthless.
    """
    if database.is_memory(settings.database_url):
        raise CommandError("in-memory SQLite is for the test client alone: there is nothing to prove")
    if not database.is_there(settings.database_url):  # connecting would make it
        raise CommandError(NOT_MIGRATED)
    try:
        proof = find_proof(rounds, seconds)
    except NoScratchDatabaseError as error:
        raise CommandError(str(error)) from None
    except DBAPIError as error:
        raise CommandError(database_problem(error)) from None
    except InvalidRequestError:
        raise CommandError(IS_MYSQL) from None
    except (WorkerError, StorageBusyError) as error:
        raise CommandError(f"the proof ended early: {error or busy_problem(error)}") from None
    show(report(proof, rounds), as_json)
    if not is_kept(proof):
        context.exit(1)


def find_proof(rounds: int, seconds: int) -> Proof:
    """All scenes, with a progress bar where somebody sees it; what voids them, in the operator's own tables
    and in the place.
    """
    app: Flask = cast(Any, current_app)._get_current_object()
    with (
        scratch_database(app, timedelta(seconds=seconds) + SPARE) as inside,
        open_testbed(inside) as stage,
        click.progressbar(
            length=rounds * len(SCENARIOS), label="Racing", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar,
    ):
        return Proof(run(stage, rounds, seconds, progress=bar.update), find_caveats(app, stage.app))


def is_kept(proof: Proof) -> bool:
    return not proof.voids and all(tally.is_kept for tally in proof.tallies)


def report(proof: Proof, rounds: int) -> Result:
    broken = [
        f"{tally.scene}: {promise}" for tally in proof.tallies for promise in dict.fromkeys(tally.broken)
    ]
    cut = [tally.scene for tally in proof.tallies if tally.rounds < rounds]
    document = {
        "kept": is_kept(proof),
        "scenes": [tally.document() for tally in proof.tallies],
        "voids": list(proof.voids),
    }
    messages = (
        *(
            f"{counted(len(cut), 'scene')} ended before {rounds} rounds: give more --seconds for all."
            for _ in cut[:1]
        ),
        *(f"BROKEN: {promise}" for promise in broken),
        *(f"VOID: {reason}" for reason in proof.voids),
        verdict(broken, proof.voids),
    )
    return Result(document, table([tally.row() for tally in proof.tallies], COLUMNS), messages)


def verdict(broken: Sequence[Any], voids: Sequence[str]) -> str:
    if broken:
        return "A promise was broken."
    if voids:
        return "The races were won, but as this database is set up the promises are void."
    return "Every promise was kept."
