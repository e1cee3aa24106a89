"""The clock of a test that runs in memory: it stands still, but for the seconds that the test lets pass."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from protocol import clock


class StoppedClock:
    """Stands at the beginning of the second in which it was made."""

    def __init__(self) -> None:
        self._stands_at = clock.now() * clock.MICROSECONDS
        self.tick = 1  # microseconds from one look to the next: what is issued later is later

    def now(self) -> int:
        return self._stands_at // clock.MICROSECONDS

    def now_in_microseconds(self) -> int:
        self._stands_at += self.tick
        return self._stands_at

    def sleep(self, seconds: float) -> None:
        """Let this time pass."""
        self._stands_at += round(seconds * clock.MICROSECONDS)


@contextmanager
def stop_clock(config: pytest.Config) -> Iterator[StoppedClock]:
    """Stop the clock meanwhile, with `--delay-clock` after a while: then what came before is older."""
    time.sleep(config.getoption("--delay-clock"))
    stopped_clock = StoppedClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", stopped_clock.now)
        patch.setattr(clock, "now_in_microseconds", stopped_clock.now_in_microseconds)
        yield stopped_clock
