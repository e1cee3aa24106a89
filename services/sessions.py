"""Revoke sessions, for a sign-out, a new password or an operator (OpenID Connect Back-Channel Logout 1.0).

Enters: a user, and which of their sessions. Leaves: no such sessions, none of the codes and tokens that
depended on them, and a notice for each client that wants one, all in one transaction.
`outbound/logout_delivery.py` delivers the notices once it is committed.
"""

from collections.abc import Collection
from typing import NamedTuple

import store.client_sessions
import store.codes
import store.logout_notices
import store.tokens
import store.user_sessions
import store.users
from protocol import claims, clock
from services.current import delivery
from store.client_sessions import KnownClient
from unit_of_work import after_commit


class SignedOut(NamedTuple):
    """How many sessions, codes and tokens have ended, and how many clients get a notice."""

    sessions: int
    codes: int
    tokens: int
    notices: int


def revoke_sessions(user_id: int, session_ids: Collection[int] | None = None) -> SignedOut:
    """Revoke all sessions of a user, or these of them, with what depends on them; lock the user first.

    Whoever revokes sessions of several users does it in the order of their ids. Tokens with `offline_access`
    outlive the session (§2.7). Three statements for sessions without a client, at most seven, however many
    sessions and clients there are.
    """
    store.users.lock(user_id)
    known_to = store.client_sessions.of_user(user_id, session_ids)
    sessions = store.user_sessions.delete_of_user(user_id, session_ids)
    if not known_to:
        return SignedOut(sessions, 0, 0, 0)
    sids = [row.sid for row in known_to]
    codes = store.codes.delete_of_sids(user_id, sids)
    tokens = store.tokens.revoke_of_sids(user_id, sids)
    notices = [notice_for(row) for row in known_to if row.client.member("backchannel_logout_uri")]
    if notices:
        store.logout_notices.add(user_id, clock.now(), notices)
        after_commit(delivery.wake)
    return SignedOut(sessions, codes, tokens, len(notices))


def notice_for(row: KnownClient) -> dict[str, str]:
    """Return whom a notice is about, under the `sub` that the client knows.

    A pairwise `sub` can be made only while the user is there.
    """
    return {
        "client_id": row.client.client_id,
        "sub": claims.subject(row.client, row.sub, row.pairwise_secret),
        "sid": row.sid,
    }
