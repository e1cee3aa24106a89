"""What is odd about a database, and what to do about it: what every engine is looked at for.

Enters: what an engine's own file read from its server. Leaves: findings. A *problem* makes answers wrong or
impossible; a *warning* is a risk or an oversight.
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
    severity: Literal["problem", "warning"]
    text: str  # what is wrong, and what to do
    voids_promises: bool = False  # what was acknowledged may be lost, or a rule of the tokens broken


@dataclass(frozen=True)
class ServerInfo:
    """What a server says of itself. None where it has no such thing."""

    name: str
    version: tuple[int, ...]
    minimum_version: tuple[int, ...]
    isolation: str | None = None
    connections: int | None = None  # for all its clients together
    clock: float | None = None  # epoch seconds
    is_read_only: bool = False


def problem(text: str, *, voids_promises: bool = True) -> CheckResult:
    return CheckResult("problem", text, voids_promises)


def warning(text: str, *, voids_promises: bool = False) -> CheckResult:
    return CheckResult("warning", text, voids_promises)


def may_lose_writes(text: str) -> CheckResult:
    """Good enough for a laptop; what was acknowledged may be gone after a crash or a power cut."""
    return CheckResult(
        "warning", f"{text}: what was acknowledged may be lost in a crash", voids_promises=True
    )


def check_server(facts: ServerInfo, processes: int) -> Iterator[CheckResult]:
    """processes: worker processes of this node; each has a pool of its own."""
    if facts.version < facts.minimum_version:
        yield problem(
            f"{facts.name} {dotted(facts.version)} is too old: take {dotted(facts.minimum_version)} or newer"
        )
    if facts.is_read_only:
        words = (
            "the database server is read-only, perhaps a standby: let OSTIARY_DATABASE_URL name the primary"
        )
        yield problem(words, voids_promises=False)
    if facts.isolation is not None and facts.isolation.lower().replace("-", " ") != ISOLATION:
        yield problem(
            f"transactions run {facts.isolation} and not READ COMMITTED: something between drops what"
            " is set at connect"
        )
    needed = POOL_SIZE * processes
    if facts.connections is not None and facts.connections < needed:
        yield warning(
            f"the database server takes {facts.connections} connections, and the {processes}"
            " processes of this node may open"
            f" {needed}: raise max_connections, or lower WEB_CONCURRENCY"
        )
    if facts.clock is not None and abs(ahead := facts.clock - time.time()) > CLOCK_TOLERANCE.total_seconds():
        direction = "ahead of" if ahead > 0 else "behind"
        yield warning(
            f"the clock of the database server is {abs(ahead):.0f} s {direction} ours: set both by NTP"
        )


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
