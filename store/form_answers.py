"""Answers to forms, stored for half a minute: a form that arrives twice does its work once.

The second gets the answer of the first. A row has the digest of what was sent. The answer is encrypted under
the same text, which has the form's own random token and is not in the database. The key is unique: of two
that arrive at once, one is rolled back and finds the answer of the other.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import delete, insert, select

from crypto import credentials
from crypto.encryption import decrypt, encrypt
from crypto.json_values import JsonObject
from database.tables import table
from database.tenancy import own
from models import FormAnswer, db
from store import sweep

LIFETIME_SECONDS = 31  # 30, and one because the clock counts whole seconds
sweep_some = sweep.expired(table(FormAnswer))


class StoredAnswer(NamedTuple):
    """An answer that was stored for a form."""

    answer: JsonObject | None  # None: it has expired
    form_digest: bytes


def add(
    form: str, browser_digest: bytes, answer: JsonObject, now: int, expired: StoredAnswer | None = None
) -> None:
    """Store the answer to a form, in the transaction that did its work, and delete a few expired ones.

    expired: what `find` returned for this form; it is deleted first.
    """
    if expired is not None:
        is_it = FormAnswer.form_digest == expired.form_digest
        db.session.execute(delete(FormAnswer).where(own(FormAnswer), is_it, FormAnswer.expires_at <= now))
    sweep_some(now)
    db.session.execute(
        insert(FormAnswer),
        {
            "form_digest": keys_of(form, [browser_digest])[0],
            "sealed_answer": encrypt(answer, form),
            "expires_at": now + LIFETIME_SECONDS,
        },
    )


def find(form: str, browser_digests: Collection[bytes], now: int) -> StoredAnswer | None:
    """Return the stored answer to the same form from the same browser, or None. One SELECT.

    browser_digests: of all ids of the browser; the form may have come under any of them.
    """
    is_one = FormAnswer.form_digest.in_(keys_of(form, browser_digests))
    statement = (
        select(FormAnswer.__table__).where(own(FormAnswer), is_one).order_by(FormAnswer.expires_at.desc())
    )
    row = db.session.execute(statement.limit(1)).one_or_none()
    if row is None:
        return None
    return StoredAnswer(decrypt(row.sealed_answer, form) if row.expires_at > now else None, row.form_digest)


def keys_of(form: str, browser_digests: Collection[bytes]) -> list[bytes]:
    """Return the key of a form for each id of a browser.

    Another browser that sends the same has another key: it neither finds this answer nor is kept from storing
    its own. The form may be long and the ids many, so the form is hashed once.
    """
    of_form = credentials.digest(form).hex()
    return [credentials.digest(browser_digest.hex() + of_form) for browser_digest in browser_digests]
