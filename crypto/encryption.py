"""Encryption of what the database holds: AES-256-GCM, under keys made by HKDF (RFC 5869).

A random nonce stands in front of each value. Two kinds of keys are in use. `Cipher` makes its key from the
server's secret key: for signing keys and for secrets of clients. `encrypt` and `decrypt` make it from a token
that only its holder has: a token response is kept for the holder of the refresh token that it replaced, who
may have lost the answer. The database holds a digest of that token, which is another value, so a stolen row
cannot be decrypted.
"""

import json
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.credentials import derive_key
from crypto.json_values import JsonObject

NONCE_LENGTH = 12


class Cipher:
    """Encrypts under the server's secret key, and decrypts what was encrypted under it or an older one.

    A `label` names the row that a value is for (the associated data of AES-GCM): copied into another row, the
    value cannot be decrypted.
    """

    def __init__(self, secret_keys: Sequence[str], purpose: str) -> None:
        self._ciphers = [AESGCM(derive_key(key, purpose)) for key in secret_keys]

    def encrypt(self, content: bytes, label: str) -> bytes:
        """Return the content encrypted under the present secret key."""
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + self._ciphers[0].encrypt(nonce, content, label.encode())

    def decrypt(self, encrypted: bytes, label: str) -> bytes | None:
        """Return the content, or None where no known secret key can decrypt it."""
        contents = (self._decrypt(cipher, encrypted, label) for cipher in self._ciphers)
        return next((content for content in contents if content is not None), None)

    def is_current(self, encrypted: bytes, label: str) -> bool:
        """Return whether a value is encrypted under the present secret key, not under an older one."""
        return self._decrypt(self._ciphers[0], encrypted, label) is not None

    @staticmethod
    def _decrypt(cipher: AESGCM, encrypted: bytes, label: str) -> bytes | None:
        try:
            return cipher.decrypt(encrypted[:NONCE_LENGTH], encrypted[NONCE_LENGTH:], label.encode())
        except (InvalidTag, ValueError):
            return None


def encrypt(content: JsonObject, token: str) -> bytes:
    """Return the content encrypted under a key that only the holder of `token` can derive."""
    nonce = os.urandom(NONCE_LENGTH)
    return nonce + cipher_of(token).encrypt(nonce, json.dumps(content).encode(), None)


def decrypt(encrypted: bytes, token: str) -> JsonObject | None:
    """Return the content, or None when `token` is not the one that it was encrypted for."""
    try:
        octets = cipher_of(token).decrypt(encrypted[:NONCE_LENGTH], encrypted[NONCE_LENGTH:], None)
        content: JsonObject = json.loads(octets)
    except (InvalidTag, ValueError):
        return None
    return content


def cipher_of(token: str) -> AESGCM:
    """Return the cipher whose key is derived from a token."""
    return AESGCM(derive_key(token, "sealed pair"))  # rows are encrypted under this name: it stays
