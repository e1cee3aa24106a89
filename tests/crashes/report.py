"""What kills came to: how many, what was acknowledged before them, and what was found to be wrong
after them.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """`violations` is empty when every promise was kept."""

    kills: int = 0
    acknowledged: int = 0  # writes that somebody was told of
    in_doubt: int = 0  # writes that were stored although nobody was told
    violations: list[str] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)  # answers, by status
    slowest_recovery: float = 0.0  # seconds until the next request was served
    slowest_answer: float = 0.0

    def served_after(self, seconds):
        self.slowest_recovery = max(self.slowest_recovery, seconds)

    def note(self, answers, allowed):
        """Count the answers to one client; 200 is right, and so are those that are allowed."""
        statuses = Counter(answer.status for answer in answers)
        self.statuses.update(statuses)
        self.acknowledged += statuses[200]
        self.slowest_answer = max(
            [self.slowest_answer, *(answer.answered_at - answer.sent_at for answer in answers)]
        )
        self.violations += [f"{statuses[odd]} answers of {odd}" for odd in statuses.keys() - {200, *allowed}]
