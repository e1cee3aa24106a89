"""Sign up: somebody makes an account, whose address stays unverified. Accounts and guesses are throttled."""

from functools import partial

import store.users
from errors import ConflictError, ThrottledError
from models import User
from services import passwords, throttling, users
from services.event_log import Event, Reason, set_reason, write
from services.problems import Code, problem, refuse_if_any
from services.users import NewUser
from unit_of_work import after_commit


def sign_up(new: NewUser) -> User:
    """Store the account that somebody makes for themselves; its address stays unverified.

    Raise InvalidInputError, ThrottledError, TooManyHashesError, or ConflictError where the address is taken.
    """
    refuse_if_any(users.find_problems(new, minimum_name_length=1))
    failures = throttling.for_sign_up()
    check_throttle(throttling.seconds_to_wait([*failures, throttling.for_new_account()]))
    prepared = users.normalize(new, passwords.hash_new(new.password))
    if store.users.find_by_email(new.email) is not None:
        throttling.count_failure(failures)
        set_reason(Reason.ACCOUNT_EXISTS)
        raise ConflictError([problem(Code.EMAIL_TAKEN, email=prepared.email)])
    # Others may have been faster while this password was hashed.
    check_throttle(throttling.claim(throttling.for_new_account()))
    user = store.users.add(prepared.email, prepared.name, prepared.password_hash)
    after_commit(partial(write, Event.SIGN_UP, sub=user.sub))
    return user


def check_throttle(seconds: int) -> None:
    """Raise ThrottledError where the request has to wait."""
    if seconds:
        set_reason(Reason.THROTTLED)
        raise ThrottledError(seconds)
