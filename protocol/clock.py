"""The one clock.

Instants are UTC epoch seconds (RFC 7519 §2, NumericDate); only a token's `issued_at` is in microseconds.
"""

import time

MICROSECONDS = 1_000_000


def now() -> int:
    return int(time.time())


def now_in_microseconds() -> int:
    return time.time_ns() // 1_000
