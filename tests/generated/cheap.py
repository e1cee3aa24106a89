"""Password hashes that cost nothing: they are made thousands of times here.

What is hashed, and when, stays as it is.
"""

from functools import cache

import crypto.passwords
from services import passwords
from tests import builders

CHEAP = "$argon2id$v=19$m=8,t=1,p=1$"


def make_hashes_cheap(patch):
    patch.setattr(crypto.passwords, "MEMORY_KIB", 8)
    patch.setattr(crypto.passwords, "ITERATIONS", 1)
    patch.setattr(crypto.passwords, "PARAMETERS", CHEAP)
    patch.setattr(crypto.passwords, "DUMMY_HASH", f"{CHEAP}{'A' * 22}${'A' * 43}")


@cache
def cheap_hash():
    """Of the password that everybody has in tests."""
    return passwords.hash_password(builders.PASSWORD)
