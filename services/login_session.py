"""The login session of a browser: a signed cookie with ids and a message, and what signing in and out does.

Enters: a request of a user. Leaves: who is signed in, and which pending authorization requests are this
browser's. The cookie names rows of `user_session`, so a session that is revoked anywhere has ended here too.
Endpoints that programs call open no session at all.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from flask import g, request, session
from flask_login import current_user, login_user

import store.logout_notices
import store.tickets
import store.user_sessions
import store.users
from crypto import credentials
from crypto.device_cookie import device_digest
from protocol import clock
from protocol.claims import AMR_PASSWORD
from services import browser_ids, known_devices
from services.event_log import Event, Reason, set_reason, write
from services.sessions import revoke_sessions
from store.logout_notices import ReceiptRow
from store.user_sessions import SignedIn, SignIn
from unit_of_work import after_commit

MAXIMUM_USERS = 8  # signed in at once; the cookie holds a value for each
MAXIMUM_RECEIPTS = 50
RECEIPT_SECONDS = 300  # whoever uses this browser next should not see for long what the user before them used


# ---- who is signed in --------------------------------------------------------------------------------------


def load_signed_in(cookie_value: str) -> SignedIn | None:
    """Return the user whose session a cookie names, or None."""
    return store.user_sessions.find_signed_in(cookie_value, clock.now())


def note_use(user: SignedIn | None) -> SignedIn | None:
    """Return the user, after noting that this request uses the session where that is to be stored."""
    if user is not None and store.user_sessions.is_use_due(user, clock.now()):
        g.in_use = g.get("in_use", {}) | {user.session_id: user}
    return user


def find_current_user() -> SignedIn | None:
    """Return the user that this browser goes on as, who was chosen last of several; None for nobody."""
    return current_user._get_current_object() if current_user.is_authenticated else None


def signed_in_users() -> list[SignedIn]:
    """Return all users who are signed in with this browser, the present one first.

    One SELECT, none for nobody.
    """
    if "signed_in_users" not in g:
        g.signed_in_users = store.user_sessions.find_all_signed_in(cookie_values(), clock.now())
    found: list[SignedIn] = g.signed_in_users
    return found


def has_other_users() -> bool:
    """Return whether this browser claims more than one account; no statement is sent."""
    return bool(session.get("others"))


def cookie_values() -> list[str]:
    """Return the sessions that this browser claims to have, the present one first."""
    present = session.get("_user_id")
    return [*([present] if present is not None else []), *session.get("others", [])]


def lock(session_id: int | None) -> SignedIn | None:
    """Return who is signed in here with this session, locked to the end of the transaction.

    A sign-out from elsewhere comes wholly before or wholly after it. None when the session is not one of this
    browser's, or has ended.
    """
    if session_id is None:
        return None
    return note_use(store.user_sessions.find_among(cookie_values(), session_id, clock.now()))


# ---- sign in -----------------------------------------------------------------------------------------------


def sign_in(user_id: int, password_hash: str, ticket: str | None = None, keep: bool | None = None) -> bool:
    """Begin a session, or renew the one that this user has on this device, and return True.

    Return False when the user was disabled or got another password since this one was checked: under the
    lock that such a change takes too, a sign-in comes wholly before it, and its session ends with the others,
    or wholly after it. The cookie gets a new value, so that nobody can have planted it. What this browser had
    pending stays, and other accounts stay signed in.

    ticket: of the request that this sign-in is for. keep: whether the session outlives the browser's end;
    None for as before.
    """
    row = store.users.lock(user_id)
    if row is None or row.password_hash != password_hash:
        set_reason(Reason.DISABLED if row is None else Reason.WRONG_PASSWORD)
        return False
    after_commit(partial(write, Event.SIGN_IN, sub=row.sub, amr=AMR_PASSWORD))
    users, now = signed_in_users(), clock.now()
    before = next((user for user in users if user.id == user_id), None)
    is_kept = keep if keep is not None else before is not None and before.is_kept
    cookie_value = credentials.random_text()
    device = known_devices.remember(store.users.account_of(row.email))
    browser = (request.headers.get("User-Agent", ""), request.remote_addr or "")
    proof = SignIn(cookie_value, now, AMR_PASSWORD, *browser, is_kept, device)
    session_id = store_sign_in(user_id, proof, device, before)
    others = [user for user in users if user.id != user_id]
    for user in sorted(others[MAXIMUM_USERS - 1 :], key=lambda user: user.id):
        revoke_sessions(user.id, [user.session_id])  # the cookie has no place for it
    renew(cookie_value, [user.cookie_value for user in others], ticket, session_id)
    keep_cookie(is_kept, others[: MAXIMUM_USERS - 1])
    login_user(load_signed_in(cookie_value))
    return True


def store_sign_in(user_id: int, proof: SignIn, device: bytes, before: SignedIn | None) -> int:
    """Renew the session that this browser or device has, or start one, and return its id.

    before: the user as they are signed in with this browser already.
    """
    session_id = before.session_id if before is not None else None
    if session_id is None:
        session_id, surplus = store.user_sessions.find_older(user_id, device, proof.at)
        if surplus:
            revoke_sessions(user_id, surplus)
    if session_id is None:
        return store.user_sessions.start(user_id, proof)
    store.user_sessions.renew(session_id, proof)
    return session_id


def keep_cookie(is_kept: bool, others: Iterable[SignedIn]) -> None:
    """Let the cookie outlive the browser's end, where one of the accounts that it names is kept."""
    if is_kept or any(user.is_kept for user in others):
        session.permanent = True
    else:
        session.pop("_permanent", None)


def switch_account(user: SignedIn, ticket: str | None = None) -> None:
    """Go on as another of the accounts that are signed in here. ticket: of the request to go on with."""
    users = signed_in_users()
    others = [other.cookie_value for other in users if other.session_id != user.session_id]
    # The request begins anew: a choice proves nothing, so no sign-in from before it may satisfy
    # `prompt=login` or `max_age`.
    renew(user.cookie_value, others, ticket, user.session_id, begins_at=clock.now() + 1)
    keep_cookie(user.is_kept, users)


def renew(
    present: str,
    others: list[str],
    ticket: str | None = None,
    session_id: int | None = None,
    begins_at: int | None = None,
) -> None:
    """Replace the cookie by one with these sessions in it, so that nobody can have planted it.

    The request of `ticket` goes to the session `session_id`.
    """
    session.clear()
    g.pop("signed_in_users", None)
    session["_user_id"] = present
    if others:
        session["others"] = others[: MAXIMUM_USERS - 1]
    if ticket is not None and session_id is not None:
        store.tickets.assign(ticket, browser_ids.digests(), session_id, begins_at)


# ---- sign out ----------------------------------------------------------------------------------------------


def sign_out(users: Sequence[SignedIn], *, everywhere: bool = False) -> None:
    """Revoke these sessions of this browser. What was pending stays: whoever signs in next may finish it.

    everywhere: all sessions of these users.
    """
    receipts: list[int] = []
    left = [user for user in signed_in_users() if user not in users]
    # the order in which everybody locks several users
    for user in sorted(users, key=lambda user: user.id):
        ended = revoke_sessions(user.id, None if everywhere else [user.session_id])
        after_commit(partial(write, Event.SIGN_OUT, sub=user.sub, sessions=ended.sessions))
        receipts += store.logout_notices.newest_ids(user.id, ended.notices)
    if left:
        renew(left[0].cookie_value, [user.cookie_value for user in left[1:]])
        keep_cookie(False, left)
    else:
        session.clear()
        g.pop("signed_in_users", None)
        if receipts:
            session["receipts"] = receipts[:MAXIMUM_RECEIPTS]


def sign_out_elsewhere(user: SignedIn, session_id: str | None = None) -> bool:
    """Revoke sessions of this user that other browsers have; return False when the one named is gone.

    session_id: of one of them, as a form names it; None for all.
    """
    store.users.lock(user.id)  # no sign-in elsewhere comes between the question and the end
    others = store.user_sessions.others_of_user(user.id, user.session_id)
    chosen = [number for number in others if session_id in (None, str(number))]
    if not chosen and session_id is not None:
        return False
    ended = revoke_sessions(user.id, chosen)
    after_commit(partial(write, Event.SIGN_OUT, sub=user.sub, sessions=ended.sessions))
    return True


def sign_out_expired(session_id: int) -> None:
    """Revoke a session of this device that expired: it opens nothing any more, but clients still go by it."""
    row = store.user_sessions.find_expired(session_id, clock.now())
    entry = known_devices.find(store.users.account_of(row.email)) if row is not None else None
    if row is not None and entry is not None and device_digest(entry) == row.device_digest:
        revoke_sessions(row.user_id, [session_id])


def receipts_of_sign_out() -> list[ReceiptRow]:
    """Return the notices of the sign-out that left nobody here, for RECEIPT_SECONDS."""
    return store.logout_notices.find_recent(session.get("receipts", []), clock.now() - RECEIPT_SECONDS)
