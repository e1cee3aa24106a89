"""`flask prove`: races for the rules of the tokens, in a scratch database on the operator's own server.

Enters: the settings in force. Leaves: a table of scenarios and results; exit code 1 where a promise was
broken, or where the database is set up so that it cannot be kept. `testing/races/` has the scenarios.
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
from commands.output import Result, for_home, json_option, print_result
from commands.transaction import IS_MYSQL, NOT_MIGRATED, CommandError, busy_problem, database_problem
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
    """What came out of all scenarios, and why this database cannot keep the promises whatever came out."""

    results: Sequence[ScenarioResult]
    caveats: Sequence[str]

    @property
    def is_kept(self) -> bool:
        """Return whether every promise was kept, and will be."""
        return not self.caveats and all(result.is_kept for result in self.results)


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
@for_home
def prove(context: click.Context, rounds: int, seconds: int, as_json: bool) -> None:
    """Race for tokens on this database, in a scratch database: no row of yours is read or changed.

    Exit code 1 if a promise was broken, or if the settings of the database make the promises worthless.
    """
    if database.is_memory(settings.database_url):
        raise CommandError("in-memory SQLite is for the test client alone: there is nothing to prove")
    if not database.is_there(settings.database_url):  # connecting would make it
        raise CommandError(NOT_MIGRATED)
    try:
        proof = run_scenarios(rounds, seconds)
    except NoScratchDatabaseError as error:
        raise CommandError(str(error)) from None
    except DBAPIError as error:
        raise CommandError(database_problem(error)) from None
    except InvalidRequestError:
        raise CommandError(IS_MYSQL) from None
    except (WorkerError, StorageBusyError) as error:
        raise CommandError(f"the proof ended early: {error or busy_problem(error)}") from None
    print_result(report(proof, rounds), as_json)
    if not proof.is_kept:
        context.exit(1)


def run_scenarios(rounds: int, seconds: int) -> Proof:
    """Return what came out, with a progress bar on a terminal.

    Caveats are looked for in the operator's own tables and in the scratch database.
    """
    app: Flask = cast(Any, current_app)._get_current_object()
    with (
        scratch_database(app, timedelta(seconds=seconds) + SPARE) as scratch,
        open_testbed(scratch) as testbed,
        click.progressbar(
            length=rounds * len(SCENARIOS), label="Racing", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar,
    ):
        return Proof(run(testbed, rounds, seconds, progress=bar.update), find_caveats(app, testbed.app))


def report(proof: Proof, rounds: int) -> Result:
    """Return what the command says. rounds: how many were asked for."""
    broken = [
        f"{result.scenario}: {promise}"
        for result in proof.results
        for promise in dict.fromkeys(result.broken)
    ]
    cut = [result.scenario for result in proof.results if result.rounds < rounds]
    document = {
        "kept": proof.is_kept,
        "scenes": [result.document() for result in proof.results],
        "voids": list(proof.caveats),
    }
    messages = (
        *(
            f"{counted(len(cut), 'scene')} ended before {rounds} rounds: give more --seconds for all."
            for _ in cut[:1]
        ),
        *(f"BROKEN: {promise}" for promise in broken),
        *(f"VOID: {caveat}" for caveat in proof.caveats),
        verdict(broken, proof.caveats),
    )
    return Result(document, table([result.row() for result in proof.results], COLUMNS), messages)


def verdict(broken: Sequence[str], caveats: Sequence[str]) -> str:
    """Return the last line."""
    if broken:
        return "A promise was broken."
    if caveats:
        return "The races were won, but as this database is set up the promises are void."
    return "Every promise was kept."
