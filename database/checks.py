"""Checks of a database: what is wrong with its server, and what to do about it.

Enters: what the file of a database read from its server. Leaves: results of checks. A *problem* makes answers
wrong or impossible; a *warning* is a risk or an oversight.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from database.timeouts import POOL_SIZE

CLOCK_TOLERANCE = timedelta(seconds=3)
ISOLATION = "read committed"


@dataclass(frozen=True)
class CheckResult:
    """One thing that is wrong with a database."""

    severity: Literal["problem", "warning"]
    text: str  # what is wrong, and what to do
    is_caveat: bool = False  # acknowledged writes may be lost, or a rule of the tokens broken


@dataclass(frozen=True)
class ServerInfo:
    """What a server says of itself; None for what it does not have."""

    name: str
    version: tuple[int, ...]
    minimum_version: tuple[int, ...]
    isolation: str | None = None
    connections: int | None = None  # for all its clients together
    clock: float | None = None  # epoch seconds
    is_read_only: bool = False


def problem(text: str, *, is_caveat: bool = True) -> CheckResult:
    """Return the result of a check that found a problem."""
    return CheckResult("problem", text, is_caveat)


def warning(text: str, *, is_caveat: bool = False) -> CheckResult:
    """Return the result of a check that found a risk."""
    return CheckResult("warning", text, is_caveat)


def may_lose_writes(text: str) -> CheckResult:
    """Return the warning that acknowledged writes may be lost in a crash, as on a developer's computer."""
    return CheckResult("warning", f"{text}: what was acknowledged may be lost in a crash", is_caveat=True)


def check_server(server: ServerInfo, processes: int) -> Iterator[CheckResult]:
    """Return what is wrong by checks that every database needs.

    processes: worker processes of this node; each has a pool of its own.
    """
    if server.version < server.minimum_version:
        minimum = dotted(server.minimum_version)
        yield problem(f"{server.name} {dotted(server.version)} is too old: take {minimum} or newer")
    if server.is_read_only:
        words = (
            "the database server is read-only, perhaps a standby: let OSTIARY_DATABASE_URL name the primary"
        )
        yield problem(words, is_caveat=False)
    if server.isolation is not None and server.isolation.lower().replace("-", " ") != ISOLATION:
        yield problem(
            f"transactions run {server.isolation} and not READ COMMITTED: a pool or proxy in between drops"
            " the options of the connection"
        )
    needed = POOL_SIZE * processes
    if server.connections is not None and server.connections < needed:
        yield warning(
            f"the database server takes {server.connections} connections, and the {processes}"
            f" processes of this node may open {needed}: raise max_connections, or lower WEB_CONCURRENCY"
        )
    yield from check_clock(server.clock)


def check_clock(clock: float | None) -> Iterator[CheckResult]:
    """Return a warning where the server's clock differs from ours. clock: epoch seconds."""
    if clock is not None and abs(ahead := clock - time.time()) > CLOCK_TOLERANCE.total_seconds():
        direction = "ahead of" if ahead > 0 else "behind"
        yield warning(
            f"the clock of the database server is {abs(ahead):.0f} s {direction} ours: set both by NTP"
        )


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as text, such as `10.11`."""
    return ".".join(map(str, version))
