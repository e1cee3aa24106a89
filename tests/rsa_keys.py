"""RSA keys for tests, each made once a run: to make one takes 50 ms, and to check one that is read 30.

`private_key(name)` is the same key in all workers of a run: who needs it first makes it, and puts it into a
folder that they share. `Pool` gives them out in place of the keys that the server would make for itself.
"""

import json
import os
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

FOLDER = "TEST_RSA_KEYS"  # the variable that tells the workers
BITS = 2048


def begin_run():
    """Make the folder that the workers of this run share. Returns a function that removes it."""
    folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="ostiary-keys-")

    def end_run():
        os.environ.pop(FOLDER, None)
        shutil.rmtree(folder, ignore_errors=True)

    return end_run


@cache
def private_key(name):
    """Return the key of this name."""
    if FOLDER not in os.environ:  # outside of pytest
        return rsa.generate_private_key(65537, BITS)
    path = Path(os.environ[FOLDER]) / f"{name}.pem"
    if not path.exists():
        write_first(path, as_pem(rsa.generate_private_key(65537, BITS)))
    return serialization.load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)


def as_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_first(path, content):
    """Write a file as a whole, unless another worker was faster."""
    own = path.with_suffix(f".{os.getpid()}")
    own.write_bytes(content)
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    own.unlink()


@cache
def read(jwk):
    """jwk: a public or private key as JSON, the same text each time."""
    return RSAKey.import_key(json.loads(jwk))


class Pool:
    """What the server makes and reads its RSA keys with, for one test: no key is given out twice."""

    def __init__(self):
        self._numbers = count()

    def generate(self):
        key = private_key(f"server-{next(self._numbers)}")
        return RSAKey(key, key)

    @staticmethod
    def import_key(jwk):
        return read(json.dumps(jwk, sort_keys=True))
