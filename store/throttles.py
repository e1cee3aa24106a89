"""Throttles: leaky buckets of failures, a row each while there is something in the bucket.

One SELECT reads them, one statement counts a failure. The same subject has a bucket at each tenant.
"""

from collections.abc import Sequence

from sqlalchemy import Insert, bindparam, case, select

import store.sweep
from database import upsert
from database.tables import table
from database.tenancy import own, own_key
from models import Throttle, db
from protocol.throttle import Bucket

throttles = table(Throttle)
FIND = select(throttles.c.bucket_digest, throttles.c.expires_at).where(
    own(throttles), throttles.c.bucket_digest.in_(bindparam("digests", expanding=True))
)
sweep_some = store.sweep.expired(throttles)


def seconds_to_wait(buckets: Sequence[Bucket], now: int) -> int:
    """Return for how many seconds one of these buckets is still full; 0 when none is."""
    return all_seconds_to_wait([buckets], now)[0]


def all_seconds_to_wait(groups: Sequence[Sequence[Bucket]], now: int) -> list[int]:
    """Return the same for several groups of buckets. One SELECT."""
    digests = {own_key(bucket.digest) for group in groups for bucket in group}
    empty_at = {
        row.bucket_digest: row.expires_at for row in db.session.execute(FIND, {"digests": sorted(digests)})
    }
    return [
        max(bucket.seconds_to_wait(empty_at.get(own_key(bucket.digest), now), now) for bucket in group)
        for group in groups
    ]


def count_failure(buckets: Sequence[Bucket], now: int) -> None:
    """Add a failure to each bucket.

    Failures at the same moment are all counted: the database adds.
    """
    sweep_some(now)
    # In one order: two requests that count at once must not wait for each other.
    in_order = sorted(buckets, key=lambda bucket: own_key(bucket.digest))
    db.session.execute(add_failure(now).values([new_row(bucket, now) for bucket in in_order]))


def claim(bucket: Bucket, now: int) -> int:
    """Add one to a bucket; return 0, or for how many seconds it was full.

    Where it was full the transaction has to be rolled back. The lock on the row makes a queue of those who
    come at once, so that no more of them pass than there is room for.
    """
    sweep_some(now)
    statement = add_failure(now).values(new_row(bucket, now)).returning(throttles.c.expires_at)
    empty_at: int = db.session.scalars(statement).one()
    return bucket.seconds_to_wait(empty_at - bucket.drain_seconds, now)


def new_row(bucket: Bucket, now: int) -> dict[str, object]:
    """Return the row of a bucket with one failure in it."""
    return {"bucket_digest": own_key(bucket.digest), "expires_at": now + bucket.drain_seconds}


def add_failure(now: int) -> Insert:
    """Return the statement that adds a failure to a bucket, whether it has a row or not."""
    statement: Insert = upsert(
        db.engine.dialect.name,
        throttles,
        key="bucket_digest",
        # A new row would have `now + drain_seconds`. A bucket that is not empty gets those seconds more.
        change=lambda new: {
            "expires_at": case(
                (throttles.c.expires_at > now, throttles.c.expires_at + new.expires_at - now),
                else_=new.expires_at,
            )
        },
    )
    return statement
