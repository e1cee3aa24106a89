"""Check, set and change passwords: what may be one, in which form it is hashed, and how often it is guessed.

An unknown address is checked against a hash that nothing matches, so that it takes the same time. A password
is hashed in its normal form (`protocol/typed_text.py`), so that it is right on every keyboard. Older hashes
are of what was typed; so what is typed in another form is checked in both, whatever the first one says.
`crypto/passwords.py` has the hash itself. Hashing is slow, so it comes before any lock.
"""

from functools import partial
from typing import NamedTuple

import crypto.passwords
import store.codes
import store.tokens
import store.user_sessions
import store.users
from errors import InvalidInputError, Problem, ThrottledError, WrongPasswordError
from models import User
from protocol import typed_text
from protocol.throttle import Bucket
from services import known_devices, login_session, throttling
from services.current import password_hashes
from services.event_log import Event, Reason, set_reason, write
from services.problems import Code, problem
from services.sessions import revoke_sessions
from store.user_sessions import SignedIn
from unit_of_work import after_commit

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 1_024


class CheckedPassword(NamedTuple):
    """A user whose password was right, and the hash that is to be stored from now on."""

    user: User
    password_hash: str


# ---- sign in and change ------------------------------------------------------------------------------------


def sign_in(email: str, password: str, ticket: str | None = None, keep: bool | None = None) -> None:
    """Sign a user in with this browser; `ticket` and `keep` as in `login_session.sign_in`.

    Raise WrongPasswordError, ThrottledError or TooManyHashesError.
    """
    failures = check_throttle(email)
    checked = check_password(email, password)
    if checked is None or not login_session.sign_in(
        checked.user.id, checked.user.password_hash or "", ticket, keep
    ):
        throttling.count_failure(failures)
        raise WrongPasswordError
    if checked.password_hash != checked.user.password_hash:
        store.users.set_password_hash(checked.user.id, checked.password_hash)


def change(user: SignedIn, present: str, new: str) -> None:
    """Change the password of the user who is signed in, and end what began with the old one.

    The present password is asked for however fresh the sign-in is. Guesses at it count as failed sign-ins.
    Raise InvalidInputError, WrongPasswordError, ThrottledError or TooManyHashesError.
    """
    check_new(present, new)
    failures = check_throttle(user.email, user.sub)
    checked = check_password(user.email, present)
    new_hash = hash_new(new) if checked is not None else ""
    if checked is None or not replace(user, checked.user.password_hash or "", new_hash):
        throttling.count_failure(failures)
        raise WrongPasswordError
    after_commit(partial(write, Event.PASSWORD_CHANGED, sub=user.sub))


def check_throttle(email: str, sub: str | None = None) -> list[Bucket]:
    """Return what a failure of this sign-in is counted in. Raise ThrottledError after too many failures."""
    account = store.users.account_of(email)
    failures, seconds = throttling.for_sign_in(account, known_devices.find(account))
    if seconds:
        set_reason(Reason.THROTTLED, sub=sub)
        raise ThrottledError(seconds)
    return failures


def check_new(present: str, new: str) -> None:
    """Raise InvalidInputError for a new password that breaks the rules, or is the present one again."""
    is_same = normal(new) == normal(present)
    if found := problem(Code.PASSWORD_UNCHANGED) if is_same else find_problem(new):
        raise InvalidInputError([found])


def check_password(email: str, password: str) -> CheckedPassword | None:
    """Return the user when address and password belong together and the account is open, else None.

    Both take the same time. Raise TooManyHashesError.
    """
    user = store.users.find_by_email(email)
    known_hash = user.password_hash if user else None
    with password_hashes.acquire():
        form = find_form(password, known_hash)
        if user is None or known_hash is None or form is None or user.disabled_at is not None:
            set_reason(reason_of_failure(user, form is not None), sub=user.sub if user else None)
            return None
        is_old = needs_rehash(password, form, known_hash)
        return CheckedPassword(user, hash_password(password) if is_old else known_hash)


def reason_of_failure(user: User | None, is_right: bool) -> Reason:
    """Return why a sign-in fails, for the log alone."""
    if user is None:
        return Reason.UNKNOWN_ACCOUNT
    return Reason.DISABLED if is_right else Reason.WRONG_PASSWORD


def replace(user: SignedIn, checked_hash: str, new_hash: str) -> bool:
    """Set the password, and end other sessions, pending codes, and tokens that are not this session's.

    Return False when the password was changed, or the user disabled, since it was checked. This session goes
    on under new ids.
    """
    row = store.users.lock(user.id)
    if row is None or row.password_hash != checked_hash:
        set_reason(Reason.DISABLED if row is None else Reason.WRONG_PASSWORD, sub=user.sub)
        return False
    store.users.set_password_hash(user.id, new_hash)
    if others := store.user_sessions.others_of_user(user.id, user.session_id):
        revoke_sessions(user.id, others)
    store.codes.delete_pending(user_id=user.id)
    store.tokens.revoke_of_other_sessions(user.id, user.session_id)
    return login_session.sign_in(user.id, new_hash)


# ---- rules and hashes --------------------------------------------------------------------------------------


def find_problem(password: str) -> Problem | None:
    """Return why this may not become a password, or None. It is measured in the form that is hashed."""
    length = len(normal(password))
    if length < MINIMUM_LENGTH:
        return problem(Code.PASSWORD_TOO_SHORT, minimum=MINIMUM_LENGTH)
    if length > MAXIMUM_LENGTH:
        return problem(Code.PASSWORD_TOO_LONG, maximum=MAXIMUM_LENGTH)
    if typed_text.find_forbidden(password):
        return problem(Code.PASSWORD_CHARACTERS)
    return None


def hash_new(password: str) -> str:
    """Return the hash of a new password.

    Raise InvalidInputError where it breaks the rules, and TooManyHashesError.
    """
    if found := find_problem(password):
        raise InvalidInputError([found])
    with password_hashes.acquire():
        return hash_password(password)


def hash_password(password: str) -> str:
    """Return the hash of a password's normal form. It takes tens of milliseconds and 19 MiB."""
    return crypto.passwords.hash_password(forms(password)[0])


def find_form(password: str, password_hash: str | None) -> str | None:
    """Return the form of the password that the hash was made of, or None.

    password_hash: None for an unknown account, which takes the same time.
    """
    expected = password_hash or crypto.passwords.DUMMY_HASH
    # All forms are tried, so the time tells nothing.
    fitting = [form for form in forms(password) if crypto.passwords.verify(form, expected)]
    return fitting[0] if fitting and password_hash is not None else None


def is_right(password: str, password_hash: str | None) -> bool:
    """Return whether the password is the one of the hash; it takes the same time either way."""
    return find_form(password, password_hash) is not None


def needs_rehash(password: str, form: str, password_hash: str) -> bool:
    """Return whether the hash was made with other costs than today's, or of another form of the password."""
    return form != forms(password)[0] or not password_hash.startswith(crypto.passwords.PARAMETERS)


def forms(password: str) -> list[str]:
    """Return the forms that a hash may be of, today's first; [""], which never fits, for a long password."""
    both = dict.fromkeys((normal(password), password))
    return [form for form in both if len(form) <= MAXIMUM_LENGTH] or [""]


def normal(password: str) -> str:
    """Return the form of a password that is hashed today."""
    return typed_text.normalize_password(password, MAXIMUM_LENGTH)
