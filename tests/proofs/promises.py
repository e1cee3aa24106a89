"""What is promised of each engine, with the number that came out beside its bound.

Enters: a place with fresh databases of an engine, and how often everything is tried. Leaves: lines of the
table of `make prove`. `progress` is a function that is told how far it is, and what was wrong.
"""

import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from commands.formatting import counted
from testing.races.run import run_scenario
from testing.races.scenarios import Scenario, one_code, one_refresh_token, sign_ins_for_one_session
from tests.crashes.server_kills import RECOVERY_SECONDS, kill_servers
from tests.crashes.worker_kills import AT_ONCE_SECONDS, SCENARIOS, kill_workers
from tests.flows.driving import Driver, race_server
from tests.proofs.throughput import measure_cost, measure_queue

HIGHEST_COST = {"postgresql": 0.10, "mariadb": 0.40}  # as a share of the bare design's throughput
LOWEST_RATE = 1_000
SENDERS = 4  # of each credential
RACES = (
    Scenario(f"of {SENDERS} who send a code one wins", one_code),
    Scenario(f"{SENDERS} who refresh get one stored pair", one_refresh_token),
    Scenario(f"of {SENDERS} sign-ins one stays stored", sign_ins_for_one_session),
)
UNIQUE_KEY_DECIDED = re.compile(r"lost a race.*(?:UNIQUE|23505|\b1062\b)")
TELL_EVERY = 10


@dataclass(frozen=True)
class Size:
    """How often everything is tried on each engine."""

    races: int = 2_000  # for credentials of each kind
    kill_rounds: int = 2  # of each scene at each of its points
    scenarios: dict = field(default_factory=lambda: SCENARIOS)
    server_kills: int = 6
    queue: int = 8  # processes that wait for SQLite's one writer
    rate_rounds: int = 11
    rate_seconds: float = 1.5

    @property
    def worker_kills(self):
        return self.kill_rounds * sum(len(points.split()) for points in self.scenarios.values())


class Place(NamedTuple):
    """Where an engine is tried: `new_database()` is the URL of an empty one, everybody may enter `folder`."""

    engine: str
    new_database: Callable
    folder: Path

    def new_folder(self, name):
        folder = self.folder / name
        folder.mkdir(mode=0o755)
        return folder


class Promise(NamedTuple):
    """A line of the table."""

    promise: str
    came_out: str
    bound: str
    is_kept: bool

    def row(self):
        return self._asdict() | {"outcome": "kept" if self.is_kept else "BROKEN"}


def prove_throughput(place, size, progress):
    """Before anything else has used the machine."""
    progress("throughput")
    if place.engine == "sqlite":
        rate = measure_queue(place.new_database(), size.rate_rounds, size.rate_seconds, size.queue)
        what, came_out = (
            f"{size.queue} processes queue for the one writer",
            f"{rate:,.0f} replacements a second",
        )
        return [Promise(what, came_out, f"at least {LOWEST_RATE:,}", rate >= LOWEST_RATE)]
    cost = measure_cost(place.new_database(), size.rate_rounds, size.rate_seconds)
    safe, bare = map(statistics.median, cost)
    highest = HIGHEST_COST[place.engine]
    what, came_out = (
        "cost over the bare two statements",
        f"{cost.share:.1%} ({safe:,.0f} a second, bare {bare:,.0f})",
    )
    return [Promise(what, came_out, f"at most {highest:.0%}", cost.share <= highest)]


def prove_races(place, size, progress):
    """For one credential each, over HTTP."""
    with (
        race_server(place.new_database(), place.new_folder("races")) as server,
        Driver(server, SENDERS) as driver,
    ):
        races = [race(driver, scenario, size.races, progress) for scenario in RACES]
        retries = len(UNIQUE_KEY_DECIDED.findall(server.log()))
    for found in races:
        for problem, count in Counter(found.broken).items():
            progress(f"BROKEN in {counted(count, 'race')}: {problem}")
    requests = sum(found.answers.total() for found in races)
    server_errors = sum(found.server_errors for found in races)
    return [
        *(
            Promise(
                found.scenario,
                f"in {found.rounds - len(found.broken):,} of {counted(found.rounds, 'race')}",
                f"all of {size.races:,}",
                found.is_kept and found.rounds == size.races,
            )
            for found in races
        ),
        Promise("no answer is a 5xx", f"{server_errors} of {requests:,} answers", "0", server_errors == 0),
        Promise("the unique key never has to decide", f"{retries} retries", "0", retries == 0),
    ]


def race(driver, scenario, count, progress):
    tell = every(
        TELL_EVERY, lambda _one: progress(f"{driver.result.rounds + 1} of {count}: {scenario.words}")
    )
    result = run_scenario(driver, scenario, count, math.inf, tell)
    progress(f"{result.rounds} of {count}: {scenario.words}")
    return result


def prove_worker_kills(place, size, progress):
    folder = place.new_folder("workers")
    report = kill_workers(
        place.new_database(), folder, size.kill_rounds, every(TELL_EVERY, progress), size.scenarios
    )
    return lines_of(report, "a killed worker leaves no half", size.worker_kills, AT_ONCE_SECONDS, progress)


def prove_server_kills(place, size, progress):
    """Of SQLite's, which has no server, all processes that write."""
    report = kill_servers(place.engine, place.new_folder("servers"), size.server_kills, progress)
    return lines_of(report, "a killed server loses nothing", size.server_kills, RECOVERY_SECONDS, progress)


def lines_of(report, what, kills, longest, progress):
    for violation in report.violations:
        progress(f"BROKEN: {violation}")
    came_out = f"{counted(len(report.violations), 'violation')} in {counted(report.kills, 'kill')}"
    if report.acknowledged:
        came_out += f", {report.acknowledged:,} writes"
    slowest = report.slowest_recovery
    return [
        Promise(what, came_out, f"0 in {kills}", not report.violations and report.kills == kills),
        Promise(
            "  and serves again",
            f"after {slowest:.2f} s at most",
            f"under {longest:.0f} s",
            slowest < longest,
        ),
    ]


def every(count, progress):
    """Passes on each so manieth word."""
    numbers = itertools.count(1)

    def tell(words):
        if next(numbers) % count == 0:
            progress(words)

    return tell


PROOFS = (prove_throughput, prove_races, prove_worker_kills, prove_server_kills)
