"""Client assertions that were used: a row for each `jti` until nobody would take it any more."""

import store.sweep
from database import insert_or_ignore
from models import SpentAssertion, db, table

spent = table(SpentAssertion)
SHARE = 16
sweep_some = store.sweep.expired(SpentAssertion, SpentAssertion.jti_digest, batch=4 * SHARE)


def spend(jti_digest: bytes, expires_at: int, now: int) -> bool:
    """Whether it was good still. Of several that come at once one is told so; the others wait until that one
    is committed.

    One statement; two for one in sixteen, which sweeps for the others.
    """
    if jti_digest[0] % SHARE == 0:
        sweep_some(now)
    claim = insert_or_ignore(db.engine.dialect.name, spent, key="jti_digest")
    row = {"jti_digest": jti_digest, "expires_at": expires_at}
    return db.session.execute(claim.returning(spent.c.jti_digest), row).one_or_none() is not None
