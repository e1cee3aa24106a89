"""Throttles: buckets of failures, a row each while there is something in them.

One SELECT asks, one statement counts.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, case, select

import store.sweep
from crypto.json_values import JsonObject
from database import upsert
from models import Throttle, db, table
from protocol.throttle import Bucket

throttles = table(Throttle)
FIND = select(throttles.c.bucket_digest, throttles.c.expires_at).where(
    throttles.c.bucket_digest.in_(bindparam("digests", expanding=True))
)
sweep_some = store.sweep.expired(Throttle, Throttle.bucket_digest)


def seconds_to_wait(buckets: Sequence[Bucket], now: int) -> int:
    """Until each of these has room for a failure; 0 when all have."""
    return all_seconds_to_wait([buckets], now)[0]


def all_seconds_to_wait(ways: Sequence[Sequence[Bucket]], now: int) -> list[int]:
    """The same for several at once. One SELECT."""
    digests = {bucket.digest for way in ways for bucket in way}
    empty_at = {
        row.bucket_digest: row.expires_at for row in db.session.execute(FIND, {"digests": sorted(digests)})
    }
    return [
        max(bucket.seconds_to_wait(empty_at.get(bucket.digest, now), now) for bucket in way) for way in ways
    ]


def count_failure(buckets: Sequence[Bucket], now: int) -> None:
    """Pour one failure into each. Failures that come at once are all counted: the database adds, not we."""
    sweep_some(now)
    # two that count at once must not wait for each other
    in_order = sorted(buckets, key=lambda bucket: bucket.digest)
    db.session.execute(pour(now).values([a_drop(bucket, now) for bucket in in_order]))


def claim(bucket: Bucket, now: int) -> int:
    """Pour one into it. Where it was full, how long to wait: then this transaction has to be undone. Its row
    makes a queue of those who come at once, so no more get in than there is room for."""
    sweep_some(now)
    statement = pour(now).values(a_drop(bucket, now)).returning(throttles.c.expires_at)
    empty_at: int = db.session.scalars(statement).one()
    return bucket.seconds_to_wait(empty_at - bucket.drain_seconds, now)


def a_drop(bucket: Bucket, now: int) -> JsonObject:
    return {"bucket_digest": bucket.digest, "expires_at": now + bucket.drain_seconds}


def pour(now: int) -> Any:
    return upsert(
        db.engine.dialect.name,
        throttles,
        key="bucket_digest",
        # What a new row would say is `now + drain_seconds`: a bucket that is not empty gets those seconds on
        # top.
        change=lambda new: {
            "expires_at": case(
                (throttles.c.expires_at > now, throttles.c.expires_at + new.expires_at - now),
                else_=new.expires_at,
            )
        },
    )
