"""Passwords that people choose: Argon2id (RFC 9106), as PHC strings.

m = 19 MiB, t = 2, p = 1 is the OWASP minimum for logins that are served beside other work. Hashing takes tens of milliseconds
and must come before any lock. An unknown account is checked against a hash that nothing matches, so that it takes the same time.

A password is hashed in its normal form (`protocol/typed_text.py`), so that it is right on every keyboard. Older hashes are of what
was typed; so what is typed in another form is checked in both, whatever the first one says.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from protocol import typed_text

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 1_024
ITERATIONS = 2
LANES = 1
MEMORY_KIB = 19_456
PARAMETERS = f"$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}$"
HASH_OF_NOBODY = f"{PARAMETERS}{'A' * 22}${'A' * 43}"  # well-formed, and of no known password


class TooManyHashesError(Exception):
    """As many passwords are being hashed as may be at once."""


class Slots:
    """Lets so many passwords be hashed at once. Nobody waits: a queue would hold the threads that serve tokens."""

    def __init__(self, at_once: int) -> None:
        self._free = BoundedSemaphore(at_once)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises TooManyHashesError."""
        if not self._free.acquire(blocking=False):
            raise TooManyHashesError
        try:
            yield
        finally:
            self._free.release()


def hash_password(password: str) -> str:
    cost = Argon2id(salt=os.urandom(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return cost.derive_phc_encoded(encoded(forms(password)[0]))


def find_form(password: str, password_hash: str | None) -> str | None:
    """The form of the password that the hash was made of, or None. None, an unknown account, costs the same and has no form."""
    expected = password_hash or HASH_OF_NOBODY
    fitting = [form for form in forms(password) if fits(form, expected)]  # all are tried: the time tells nothing
    return fitting[0] if fitting and password_hash is not None else None


def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one of the hash, at the same cost."""
    return find_form(password, password_hash) is not None


def fits(form: str, password_hash: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(encoded(form), password_hash)
    except InvalidKey:
        return False
    return True


def needs_rehash(password: str, form: str, password_hash: str) -> bool:
    """Whether the hash was made with other costs than today's, or of another form of the password."""
    return form != forms(password)[0] or not password_hash.startswith(PARAMETERS)


def forms(password: str) -> list[str]:
    """What a hash may have been made of, the present form first; "", nobody's password, for one that is too long in each form."""
    both = dict.fromkeys((normal(password), password))
    return [form for form in both if len(form) <= MAXIMUM_LENGTH] or [""]


def normal(password: str) -> str:
    return typed_text.password(password, MAXIMUM_LENGTH)


def encoded(form: str) -> bytes:
    return form.encode("utf-8", "surrogatepass")


def find_problem(password: str) -> str | None:
    """Why this may not become a password, in words for the person, or None. It is measured in the form that is hashed."""
    length = len(normal(password))
    if length < MINIMUM_LENGTH:
        return f"Use at least {MINIMUM_LENGTH} characters."
    if length > MAXIMUM_LENGTH:
        return f"Use at most {MAXIMUM_LENGTH:,} characters."
    if typed_text.refused_in(password):
        return "Leave out control characters, and those that turn the direction of writing."
    return None
