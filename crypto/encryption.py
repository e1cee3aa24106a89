"""What the database holds encrypted: AES-256-GCM, a random nonce in front, under keys made from a secret by
HKDF (RFC 5869).

A token response is sealed for the holder of the refresh token that it replaced: a client that lost the answer
still has the token it presented. The row keeps the answer under a key made from just that token, which the
database does not hold (its digest is another value), so the row alone opens nothing. Signing keys and the
like are sealed under the server's secret key.
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
    """Seals under the server's secret key, and opens what was sealed under it or under one of those before
    it.
    """

    def __init__(self, secret_keys: Sequence[str], purpose: str) -> None:
        self._ciphers = [AESGCM(derive_key(key, purpose)) for key in secret_keys]

    def seal(self, content: bytes, label: str) -> bytes:
        """`label` names the row that it is for: moved to another one, it does not open."""
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + self._ciphers[0].encrypt(nonce, content, label.encode())

    def open(self, box: bytes, label: str) -> bytes | None:
        """What was sealed, or None where none of the keys is the one."""
        return next(
            (content for cipher in self._ciphers if (content := self._open(cipher, box, label)) is not None),
            None,
        )

    def is_current(self, box: bytes, label: str) -> bool:
        """Whether it is sealed under the secret key itself, not under one of those before it."""
        return self._open(self._ciphers[0], box, label) is not None

    @staticmethod
    def _open(cipher: AESGCM, box: bytes, label: str) -> bytes | None:
        try:
            return cipher.decrypt(box[:NONCE_LENGTH], box[NONCE_LENGTH:], label.encode())
        except (InvalidTag, ValueError):
            return None


def encrypt(content: JsonObject, presented: str) -> bytes:
    """`content` under a key that only the holder of `presented` can derive."""
    nonce = os.urandom(NONCE_LENGTH)
    return nonce + AESGCM(derive_key(presented, "sealed pair")).encrypt(
        nonce, json.dumps(content).encode(), None
    )


def decrypt(box: bytes, presented: str) -> JsonObject | None:
    """What was sealed, or None when `presented` is not the token that it was sealed for."""
    cipher = AESGCM(derive_key(presented, "sealed pair"))
    try:
        content: JsonObject = json.loads(cipher.decrypt(box[:NONCE_LENGTH], box[NONCE_LENGTH:], None))
    except (InvalidTag, ValueError):
        return None
    return content
