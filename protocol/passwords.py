"""Passwords that people choose: Argon2id (RFC 9106), as PHC strings.

m = 19 MiB, t = 2, p = 1 is the OWASP minimum for logins that are served beside other work. Hashing takes tens of milliseconds
and must come before any lock. An unknown account is checked against a hash that nothing matches, so that it takes the same time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

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
    return cost.derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one of the hash. None, an unknown account, costs the same and is never right."""
    expected = password_hash or HASH_OF_NOBODY
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), expected)
    except InvalidKey:
        return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other costs than today's."""
    return not password_hash.startswith(PARAMETERS)


def find_problem(password: str) -> str | None:
    """Why this may not become a password, in words for the person, or None."""
    if len(password) < MINIMUM_LENGTH:
        return f"Use at least {MINIMUM_LENGTH} characters."
    if len(password) > MAXIMUM_LENGTH:
        return f"Use at most {MAXIMUM_LENGTH:,} characters."
    if "\0" in password:
        return "Leave out the NUL character."
    return None
