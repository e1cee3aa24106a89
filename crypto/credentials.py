"""Random credentials: how tokens, codes and secrets are made, recognised, and stored.

Each kind has a prefix, so that secret scanners find leaks. The database holds SHA-256 digests only: the
values have 256 random bits, so a fast hash is enough. A refresh token has parts at fixed places:

    ost_rt_ | family, 22 characters | secret, 43 characters | tag, 12 characters

The family part stays the same through all refreshes of one sign-in and finds the row, so every earlier token
of the family is recognised. The tag is an HMAC under the server's key: an attacker who never held a real
token cannot forge one, and so cannot cause a family to be revoked.
"""

import hashlib
import hmac
import secrets
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto import base64url

ACCESS_TOKEN = "ost_at_"  # noqa: S105 - a prefix, not a secret
REFRESH_TOKEN = "ost_rt_"  # noqa: S105
AUTHORIZATION_CODE = "ost_ac_"
CLIENT_SECRET = "ost_cs_"  # noqa: S105

FAMILY_LENGTH = 22
SECRET_LENGTH = 43
TAG_OCTETS = 9
TAG_LENGTH = 12
REFRESH_TOKEN_LENGTH = len(REFRESH_TOKEN) + FAMILY_LENGTH + SECRET_LENGTH + TAG_LENGTH


def random_text(octets: int = 32) -> str:
    """Return random base64url text: 16 octets give 22 characters, 32 give 43."""
    return secrets.token_urlsafe(octets)


def random_secret() -> bytes:
    """Return 32 random bytes."""
    return secrets.token_bytes(32)


def digest(value: str) -> bytes:
    """Return the SHA-256 that is stored in place of a random value. Lone surrogates have one too."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def derive_key(secret_key: str, purpose: str) -> bytes:
    """Return a 32-byte key for one purpose (HKDF, RFC 5869), so that no two purposes share a key."""
    return HKDF(SHA256(), 32, salt=None, info=f"ostiary {purpose}".encode()).derive(secret_key.encode())


def new_access_token() -> str:
    """Return a new access token."""
    return ACCESS_TOKEN + random_text()


def new_authorization_code() -> str:
    """Return a new authorization code."""
    return AUTHORIZATION_CODE + random_text()


def new_client_id() -> str:
    """Return a new client identifier in hexadecimal: base64url may begin with a dash, as options do."""
    return secrets.token_hex(16)


def new_client_secret() -> str:
    """Return a new client secret."""
    return CLIENT_SECRET + random_text()


class RefreshToken(NamedTuple):
    """A refresh token in its parts; `str()` gives the text that the client holds."""

    family: str
    secret: str
    tag: str

    def __str__(self) -> str:
        return REFRESH_TOKEN + self.family + self.secret + self.tag

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parts, or None for text that has not the form of a refresh token.

        The tag is not checked here.
        """
        if not text.startswith(REFRESH_TOKEN) or len(text) != REFRESH_TOKEN_LENGTH or not text.isascii():
            return None
        start = len(REFRESH_TOKEN)
        secret = start + FAMILY_LENGTH
        return cls(text[start:secret], text[secret:-TAG_LENGTH], text[-TAG_LENGTH:])


class RefreshTokenMaker:
    """Makes refresh tokens under the server's secret key, and verifies their tags.

    Older secret keys verify only.
    """

    def __init__(self, secret_key: str, old_secret_keys: tuple[str, ...] = ()) -> None:
        self._keys = [derive_key(key, "refresh token tag") for key in (secret_key, *old_secret_keys)]

    def new(self, family: str | None = None) -> RefreshToken:
        """Return the first token of a new family, or the next one of `family`."""
        family = family or random_text(16)
        secret = random_text()
        return RefreshToken(family, secret, self._tag(self._keys[0], family, secret))

    def read(self, text: str) -> RefreshToken | None:
        """Return the parts of a refresh token that this server issued, valid or not; None for others."""
        token = RefreshToken.parse(text)
        return token if token is not None and self.has_valid_tag(token) else None

    def has_valid_tag(self, token: RefreshToken) -> bool:
        """Return whether one of the server's keys made the tag of this token."""
        return any(
            hmac.compare_digest(self._tag(key, token.family, token.secret), token.tag) for key in self._keys
        )

    @staticmethod
    def _tag(key: bytes, family: str, secret: str) -> str:
        mac = hmac.digest(key, (family + secret).encode("ascii"), "sha256")
        return base64url.encode(mac[:TAG_OCTETS])
