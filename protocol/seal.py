"""A token response sealed for the holder of the refresh token that it replaced.

A client that lost the answer to a refresh still has the token it presented. The row keeps the answer under a key made from
just that token, which the database does not hold (its digest is another value), so the row alone opens nothing.
AES-256-GCM with a random nonce in front; the key comes from the token by HKDF (RFC 5869).
"""

import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.credentials import derive_key

NONCE_LENGTH = 12


def seal(content: dict[str, Any], presented: str) -> bytes:
    """`content` under a key that only the holder of `presented` can derive."""
    nonce = os.urandom(NONCE_LENGTH)
    return nonce + AESGCM(derive_key(presented, "sealed pair")).encrypt(nonce, json.dumps(content).encode(), None)


def unseal(box: bytes, presented: str) -> dict[str, Any] | None:
    """What was sealed, or None when `presented` is not the token that it was sealed for."""
    cipher = AESGCM(derive_key(presented, "sealed pair"))
    try:
        content: dict[str, Any] = json.loads(cipher.decrypt(box[:NONCE_LENGTH], box[NONCE_LENGTH:], None))
    except (InvalidTag, ValueError):
        return None
    return content
