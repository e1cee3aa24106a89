"""Hash passwords with Argon2id (RFC 9106), as PHC strings.

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
HASH_OF_NOBODY = f"{PARAMETERS}{'A' * 22}${'A' * 43}"  # well-formed, and of no known password


class ConcurrencyLimit:
    """Lets so many passwords be hashed at once.

    Nobody waits: a queue would hold the threads that serve tokens.
    """

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


def hash_text(text: str) -> str:
    """Return the PHC string of a text, with a new salt."""
    cost = Argon2id(
        salt=os.urandom(16), length=32, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB
    )
    return cost.derive_phc_encoded(to_bytes(text))


def fits(form: str, password_hash: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(to_bytes(form), password_hash)
    except InvalidKey:
        return False
    return True


def to_bytes(form: str) -> bytes:
    return form.encode("utf-8", "surrogatepass")
