"""Password hashes: Argon2id (RFC 9106), written as PHC strings.

m = 19 MiB, t = 2, p = 1 is the OWASP minimum for logins that are served beside other work.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from errors import TooManyHashesError

ITERATIONS = 2
LANES = 1
MEMORY_KIB = 19_456
PARAMETERS = f"$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}$"
# Verified in place of the hash of an unknown account, so that the answer takes as long. No password is known
# that matches it.
DUMMY_HASH = f"{PARAMETERS}{'A' * 22}${'A' * 43}"


class ConcurrencyLimit:
    """Limits how many passwords a process hashes at the same time.

    There is no queue: the threads in it could not serve tokens meanwhile.
    """

    def __init__(self, maximum: int) -> None:
        self._free = BoundedSemaphore(maximum)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold one of the places. Raises TooManyHashesError where all are taken."""
        if not self._free.acquire(blocking=False):
            raise TooManyHashesError
        try:
            yield
        finally:
            self._free.release()


def hash_password(password: str) -> str:
    """Return the PHC string of a password, with a new salt."""
    cost = Argon2id(
        salt=os.urandom(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB
    )
    return cost.derive_phc_encoded(to_bytes(password))


def verify(password: str, password_hash: str) -> bool:
    """Return whether the hash was made of this password."""
    try:
        Argon2id.verify_phc_encoded(to_bytes(password), password_hash)
    except InvalidKey:
        return False
    return True


def to_bytes(password: str) -> bytes:
    """Return the bytes that are hashed, also for text that is no valid Unicode (a lone surrogate)."""
    return password.encode("utf-8", "surrogatepass")
