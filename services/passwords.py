"""The rules of passwords: how long they may be, in which form they are hashed, and whether one is right.

An unknown account is checked against a hash that nothing matches, so that it takes the same time. A password
is hashed in its normal form (`protocol/typed_text.py`), so that it is right on every keyboard. Older hashes
are of what was typed; so what is typed in another form is checked in both, whatever the first one says.
`crypto/passwords.py` has the hash itself.
"""

import crypto.passwords
from errors import InvalidInputError, Problem
from protocol import typed_text
from services.current import password_hashes
from services.problems import Code, problem

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 1_024


def hash_password(password: str) -> str:
    """Return the hash of a password's normal form.

    Takes tens of milliseconds and 19 MiB: call it before any lock.
    """
    return crypto.passwords.hash_password(forms(password)[0])


def find_form(password: str, password_hash: str | None) -> str | None:
    """The form of the password that the hash was made of, or None.

    None, an unknown account, costs the same and has no form.
    """
    expected = password_hash or crypto.passwords.DUMMY_HASH
    fitting = [
        form for form in forms(password) if crypto.passwords.verify(form, expected)
    ]  # all are tried: the time tells nothing
    return fitting[0] if fitting and password_hash is not None else None


def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one of the hash, at the same cost."""
    return find_form(password, password_hash) is not None


def needs_rehash(password: str, form: str, password_hash: str) -> bool:
    """Whether the hash was made with other costs than today's, or of another form of the password."""
    return form != forms(password)[0] or not password_hash.startswith(crypto.passwords.PARAMETERS)


def forms(password: str) -> list[str]:
    """What a hash may have been made of, the present form first; "", nobody's password, for one that is too
    long in each form.
    """
    both = dict.fromkeys((normal(password), password))
    return [form for form in both if len(form) <= MAXIMUM_LENGTH] or [""]


def normal(password: str) -> str:
    return typed_text.password(password, MAXIMUM_LENGTH)


def find_problem(password: str) -> Problem | None:
    """Return why this may not become a password, or None. It is measured in the form that is hashed."""
    length = len(normal(password))
    if length < MINIMUM_LENGTH:
        return problem(Code.PASSWORD_TOO_SHORT, minimum=MINIMUM_LENGTH)
    if length > MAXIMUM_LENGTH:
        return problem(Code.PASSWORD_TOO_LONG, maximum=MAXIMUM_LENGTH)
    if typed_text.refused_in(password):
        return problem(Code.PASSWORD_CHARACTERS)
    return None


def hash_new(password: str) -> str:
    """Return the hash of a new password: slow, so before any lock.

    Raise InvalidInputError where it breaks the rules, and TooManyHashesError.
    """
    if found := find_problem(password):
        raise InvalidInputError([found])
    with password_hashes.acquire():
        return hash_password(password)
