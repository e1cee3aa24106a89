"""The browser's session: a signed cookie that holds ids and a word to show once, and what signing in and out
does to it.

Enters: a request of a person. Leaves: who is signed in, and which pending authorization requests are this
browser's. The cookie names a row of `user_session`, so ending a session anywhere ends it here. Machine
endpoints open no session at all.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from flask import current_app, g, request, session
from flask_login import current_user, login_user

import store.logout_notices
import store.tickets
import store.user_sessions
import store.users
from crypto import credentials, device_cookie
from protocol import clock
from protocol.claims import AMR_PASSWORD
from services import browser_ids, sessions
from services.current import device_keys
from services.event_log import Event, Reason, set_reason, write
from store.logout_notices import ReceiptRow
from store.user_sessions import SignedIn, SignIn
from unit_of_work import after_commit

MAXIMUM_ACCOUNTS = 8  # signed in at once; the cookie holds a value for each
MAXIMUM_RECEIPTS = 50
RECEIPT_SECONDS = 300  # whoever uses this browser next should not learn for long what the last person used


def load_signed_in(cookie_value: str) -> SignedIn | None:
    return store.user_sessions.find_signed_in(cookie_value, clock.now())


def note_use(person: SignedIn | None) -> SignedIn | None:
    """Remember that this request uses the session, where that is to be written down; returns the person."""
    if person is not None and store.user_sessions.is_use_due(person, clock.now()):
        g.in_use = g.get("in_use", {}) | {person.session_id: person}
    return person


def signed_in() -> SignedIn | None:
    """Who this browser is signed in as, where several are: whom they chose last."""
    return current_user._get_current_object() if current_user.is_authenticated else None


def accounts() -> list[SignedIn]:
    """Everybody who is signed in with this browser, the present account first.

    One SELECT, none for nobody.
    """
    if "accounts" not in g:
        g.accounts = store.user_sessions.find_all_signed_in(cookie_values(), clock.now())
    found: list[SignedIn] = g.accounts
    return found


def has_others() -> bool:
    """Whether this browser claims more than one account; asks nobody."""
    return bool(session.get("others"))


def cookie_values() -> list[str]:
    """The sessions that this browser claims to have, the present one first."""
    present = session.get("_user_id")
    return [*([present] if present is not None else []), *session.get("others", [])]


def lock(session_id: int | None) -> SignedIn | None:
    """Who is signed in here with this session, locked to the end of the transaction: a sign-out from
    elsewhere comes wholly before or wholly after it. None when it is not one of this browser's, or has
    ended."""
    if session_id is None:
        return None
    return note_use(store.user_sessions.find_among(cookie_values(), session_id, clock.now()))


def known_device_cookie_name() -> str:
    return str(current_app.config["SESSION_COOKIE_NAME"]) + "-device"


def find_known_device(account: str) -> str | None:
    """What tells this browser from others, where somebody has signed in to this account with it before; else
    None.
    """
    return device_cookie.find_entry(request.cookies.get(known_device_cookie_name(), ""), account, device_keys)


def remember_device(account: str) -> bytes:
    """From now on this browser is known for this account; returns the digest that sessions of both are known
    by.
    """
    g.known_device = device_cookie.add_entry(
        request.cookies.get(known_device_cookie_name(), ""), account, device_keys
    )
    return device_cookie.device_digest(g.known_device)


def sign_in(user_id: int, password_hash: str, ticket: str | None = None, keep: bool | None = None) -> bool:
    """Begin a session, or renew the one that this person has on this device, under a new value, so that
    nobody can have planted it.

    What this browser had pending stays, and other accounts stay signed in beside it. `ticket`: of the request
    that this sign-in is for. `keep`: whether the session outlives the browser's end; None for as before.
    False when the person was disabled or got another password since this one was checked: under the lock that
    such a change takes too, a sign-in comes wholly before it, and its session ends with the others, or wholly
    after it.
    """
    owner = store.users.lock(user_id)
    if owner is None or owner.password_hash != password_hash:
        set_reason(Reason.DISABLED if owner is None else Reason.WRONG_PASSWORD)
        return False
    after_commit(partial(write, Event.SIGN_IN, sub=owner.sub, amr=AMR_PASSWORD))
    here, now = accounts(), clock.now()
    mine = next((account for account in here if account.id == user_id), None)
    is_kept = keep if keep is not None else mine is not None and mine.is_kept
    cookie_value = credentials.random_text()
    device = remember_device(store.users.account_of(owner.email))
    client = (request.headers.get("User-Agent", ""), request.remote_addr or "")
    proof = SignIn(cookie_value, now, AMR_PASSWORD, *client, is_kept, device)
    session_id = mine.session_id if mine is not None else None
    if session_id is None:
        session_id, surplus = store.user_sessions.find_older(user_id, device, now)
        if surplus:
            sessions.end_sessions(user_id, surplus)
    if session_id is None:
        session_id = store.user_sessions.start(user_id, proof)
    else:
        store.user_sessions.renew(session_id, proof)
    others = [account for account in here if account.id != user_id]
    for account in sorted(others[MAXIMUM_ACCOUNTS - 1 :], key=lambda account: account.id):
        sessions.end_sessions(account.id, [account.session_id])  # the cookie has no place for it
    renew(cookie_value, [account.cookie_value for account in others], ticket, session_id)
    keep_cookie(is_kept, others[: MAXIMUM_ACCOUNTS - 1])
    login_user(load_signed_in(cookie_value))
    return True


def keep_cookie(is_kept: bool, beside: Iterable[SignedIn]) -> None:
    """One cookie names all accounts that are here: where one of them is kept, it outlives the
    browser's end.
    """
    if is_kept or any(person.is_kept for person in beside):
        session.permanent = True
    else:
        session.pop("_permanent", None)


def switch_account(person: SignedIn, ticket: str | None = None) -> None:
    """Go on as another of the accounts that are signed in here; `ticket`: with this request."""
    here = accounts()
    others = [other.cookie_value for other in here if other.session_id != person.session_id]
    # The request begins anew: a choice proves nothing, so no sign-in from before it may satisfy
    # `prompt=login` or `max_age`.
    renew(person.cookie_value, others, ticket, person.session_id, begins_at=clock.now() + 1)
    keep_cookie(person.is_kept, here)


def sign_out(people: Sequence[SignedIn], *, everywhere: bool = False) -> None:
    """End these sessions of this browser. What was pending stays: whoever signs in next may finish it.

    everywhere: all sessions of these people.
    """
    receipts: list[int] = []
    left = [account for account in accounts() if account not in people]
    # the order in which everybody locks several people
    for person in sorted(people, key=lambda person: person.id):
        ended = sessions.end_sessions(person.id, None if everywhere else [person.session_id])
        after_commit(partial(write, Event.SIGN_OUT, sub=person.sub, sessions=ended.sessions))
        receipts += store.logout_notices.newest_ids(person.id, ended.notices)
    if left:
        renew(left[0].cookie_value, [account.cookie_value for account in left[1:]])
        keep_cookie(False, left)
    else:
        session.clear()
        g.pop("accounts", None)
        if receipts:
            session["receipts"] = receipts[:MAXIMUM_RECEIPTS]


def sign_out_expired(session_id: int) -> None:
    """End a session of this device that nobody has used for too long: it opens nothing any more, but clients
    still go by it.
    """
    row = store.user_sessions.find_expired(session_id, clock.now())
    entry = find_known_device(store.users.account_of(row.email)) if row is not None else None
    if row is not None and entry is not None and device_cookie.device_digest(entry) == row.device_digest:
        sessions.end_sessions(row.user_id, [session_id])


def receipts_of_sign_out() -> list[ReceiptRow]:
    """What became of the notices of the sign-out that left nobody here, for a while.

    Nothing is asked where there were none.
    """
    return store.logout_notices.find_recent(session.get("receipts", []), clock.now() - RECEIPT_SECONDS)


def renew(
    present: str,
    others: list[str],
    ticket: str | None = None,
    session_id: int | None = None,
    begins_at: int | None = None,
) -> None:
    """A new cookie with these sessions in it, so that nobody can have planted it; `ticket` is for
    `session_id`.
    """
    session.clear()
    g.pop("accounts", None)
    session["_user_id"] = present
    if others:
        session["others"] = others[: MAXIMUM_ACCOUNTS - 1]
    if ticket is not None and session_id is not None:
        store.tickets.assign(ticket, browser_ids.digests(), session_id, begins_at)
