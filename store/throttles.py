"""Throttles: buckets of failures, a row each while there is something in them. One SELECT asks, one statement counts."""

from collections.abc import Sequence

from sqlalchemy import bindparam, case, select

import store.sweep
from database import insert_or_change
from models import Throttle, db, table
from protocol.throttle import Bucket

throttles = table(Throttle)
FIND = select(throttles.c.bucket_digest, throttles.c.expires_at).where(
    throttles.c.bucket_digest.in_(bindparam("digests", expanding=True))
)
sweep_some = store.sweep.expired(Throttle, Throttle.bucket_digest)


def seconds_to_wait(buckets: Sequence[Bucket], now: int) -> int:
    """Until each of these has room for a failure; 0 when all have."""
    found = db.session.execute(FIND, {"digests": [bucket.digest for bucket in buckets]})
    empty_at = {row.bucket_digest: row.expires_at for row in found}
    return max(bucket.seconds_to_wait(empty_at.get(bucket.digest, now), now) for bucket in buckets)


def count_failure(buckets: Sequence[Bucket], now: int) -> None:
    """Pour one failure into each. Failures that come at once are all counted: the database adds, not we."""
    sweep_some(now)
    pour = insert_or_change(
        db.engine.dialect.name,
        throttles,
        key="bucket_digest",
        # What a new row would say is `now + drain_seconds`: a bucket that is not empty gets those seconds on top.
        change=lambda new: {
            "expires_at": case(
                (throttles.c.expires_at > now, throttles.c.expires_at + new.expires_at - now), else_=new.expires_at
            )
        },
    )
    in_order = sorted(buckets, key=lambda bucket: bucket.digest)  # two that count at once must not wait for each other
    rows = [{"bucket_digest": bucket.digest, "expires_at": now + bucket.drain_seconds} for bucket in in_order]
    db.session.execute(pour.values(rows))
