"""The result of a scenario: rounds, answers, times, retries, and broken guarantees."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from crypto.json_values import JsonObject
from testing.races.workers import UNIQUE_KEY, Answer


class BrokenPromiseError(AssertionError):
    """A guarantee of the tokens did not hold. The text says which one, without any value."""


@dataclass
class ScenarioResult:
    """The result of one scenario."""

    scenario: str
    rounds: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def note(self, answers: Iterable[Answer], again: Counter[str]) -> None:
        """Count answers, and the reasons why requests ran again."""
        for answer in answers:
            self.answers[answer.status] += 1
            self.seconds.append(answer.seconds)
        self.again.update(again)

    @property
    def server_errors(self) -> int:
        """Return how many answers were 5xx."""
        return sum(count for status, count in self.answers.items() if status >= 500)

    @property
    def unique_key_retries(self) -> int:
        """Return how many requests ran again because of a unique key."""
        return sum(count for reason, count in self.again.items() if UNIQUE_KEY.search(reason))

    @property
    def is_kept(self) -> bool:
        """Return whether the guarantee was tried and held."""
        return self.rounds > 0 and not self.broken

    @property
    def outcome(self) -> str:
        """Return the outcome in words."""
        if self.broken:
            return f"BROKEN in {len(self.broken)} {'round' if len(self.broken) == 1 else 'rounds'}"
        return "kept" if self.rounds else "not played"

    def row(self) -> JsonObject:
        """Return the members that are printed; times in milliseconds."""
        return {
            "scene": self.scenario,
            "rounds": self.rounds,
            "requests": self.answers.total(),
            "answers": ", ".join(f"{count} x {status}" for status, count in sorted(self.answers.items())),
            "retries": self.again.total(),
            "p50_ms": milliseconds(statistics.median(self.seconds)) if self.seconds else None,
            "p99_ms": milliseconds(percentile(self.seconds, 0.99)) if self.seconds else None,
            "outcome": self.outcome,
        }

    def document(self) -> JsonObject:
        """Return the members for `--json`: counts by status, by reason, and by broken guarantee."""
        return self.row() | {
            "answers": {str(status): count for status, count in sorted(self.answers.items())},
            "retries": dict(self.again),
            "unique_key_retries": self.unique_key_retries,
            "server_errors": self.server_errors,
            "broken": dict(Counter(self.broken)),
        }


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values is."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def milliseconds(seconds: float) -> float:
    """Return seconds in milliseconds, to a tenth."""
    return round(1000 * seconds, 1)
