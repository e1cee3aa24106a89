"""Client assertions that were used: a row for each `jti` until its assertion has expired.

The same `jti` at another tenant is another one.
"""

import store.sweep
from database import insert_or_ignore
from database.tables import table
from database.tenancy import own_key
from models import SpentAssertion, db

spent = table(SpentAssertion)
SHARE = 16  # one call in so many deletes expired rows
sweep_some = store.sweep.expired(spent, batch=4 * SHARE)


def spend(jti_digest: bytes, expires_at: int, now: int) -> bool:
    """Spend the `jti` of an assertion, and return whether this caller did. One statement.

    Of several at once one gets True; the others wait until its transaction ends. Every sixteenth call, by the
    digest, also deletes expired rows.
    """
    if jti_digest[0] % SHARE == 0:
        sweep_some(now)
    claim = insert_or_ignore(db.engine.dialect.name, spent, key="jti_digest")
    row = {"jti_digest": own_key(jti_digest), "expires_at": expires_at}
    return db.session.execute(claim.returning(spent.c.jti_digest), row).one_or_none() is not None
