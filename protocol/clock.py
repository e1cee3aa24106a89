"""The clock that all code reads.

Instants are UTC epoch seconds (RFC 7519 §2, NumericDate). Only a token's `issued_at` is in microseconds.
"""

import time

MICROSECONDS = 1_000_000


def now() -> int:
    """Return the time in epoch seconds."""
    return int(time.time())


def now_in_microseconds() -> int:
    """Return the time in epoch microseconds."""
    return time.time_ns() // 1_000
