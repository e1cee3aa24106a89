"""Everything random that we hand out: how it is made, told apart, and stored.

Each kind has a prefix, so that secret scanners find leaks. The database holds SHA-256 digests only: the
values have 256 random bits, so a fast hash is enough. A refresh token has parts at fixed places:

    ost_rt_ | family, 22 characters | secret, 43 characters | tag, 12 characters

The family part stays through all refreshes of one sign-in and finds the row, so any ancestor is recognised.
The tag is an HMAC under the server's key: only who has held a real token can present one, so a guess can
never end a family.
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
TAG_LENGTH = 12
REFRESH_TOKEN_LENGTH = len(REFRESH_TOKEN) + FAMILY_LENGTH + SECRET_LENGTH + TAG_LENGTH


def random_text(octets: int = 32) -> str:
    """Random base64url text: 16 octets give 22 characters, 32 give 43."""
    return secrets.token_urlsafe(octets)


def random_secret() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(32)


def digest(value: str) -> bytes:
    """What is stored in place of a random value: 32 bytes.

    Text that is not UTF-8 (a lone surrogate) has a digest too.
    """
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def derive_key(secret_key: str, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF, RFC 5869), so that no two uses of the secret key share one."""
    return HKDF(SHA256(), 32, salt=None, info=f"ostiary {purpose}".encode()).derive(secret_key.encode())


def new_access_token() -> str:
    return ACCESS_TOKEN + random_text()


def new_authorization_code() -> str:
    return AUTHORIZATION_CODE + random_text()


def new_client_id() -> str:
    """Hexadecimal: an identifier is no secret, and one that began with a dash would be an option on a command
    line.
    """
    return secrets.token_hex(16)


def new_client_secret() -> str:
    return CLIENT_SECRET + random_text()


class RefreshToken(NamedTuple):
    """A refresh token in its parts; `str()` is what the client holds."""

    family: str
    secret: str
    tag: str

    def __str__(self) -> str:
        return REFRESH_TOKEN + self.family + self.secret + self.tag

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The parts, or None for text that no server of this kind ever issued.

        The tag is not checked here.
        """
        if not text.startswith(REFRESH_TOKEN) or len(text) != REFRESH_TOKEN_LENGTH or not text.isascii():
            return None
        start = len(REFRESH_TOKEN)
        secret = start + FAMILY_LENGTH
        return cls(text[start:secret], text[secret:-TAG_LENGTH], text[-TAG_LENGTH:])


class RefreshTokenMaker:
    """Makes refresh tokens under the server's key and recognises their tags, those of old keys too."""

    def __init__(self, secret_key: str, old_secret_keys: tuple[str, ...] = ()) -> None:
        self._keys = [derive_key(key, "refresh token tag") for key in (secret_key, *old_secret_keys)]

    def new(self, family: str | None = None) -> RefreshToken:
        """A token of a new family, or the next one of `family`."""
        family = family or random_text(16)
        secret = random_text()
        return RefreshToken(family, secret, self._tag(self._keys[0], family, secret))

    def read(self, text: str) -> RefreshToken | None:
        """The parts of a refresh token that was issued here, whether it is good for anything or not; None for
        anything else.
        """
        token = RefreshToken.parse(text)
        return token if token is not None and self.has_right_tag(token) else None

    def has_right_tag(self, token: RefreshToken) -> bool:
        return any(
            hmac.compare_digest(self._tag(key, token.family, token.secret), token.tag) for key in self._keys
        )

    @staticmethod
    def _tag(key: bytes, family: str, secret: str) -> str:
        mac = hmac.digest(key, (family + secret).encode("ascii"), "sha256")
        return base64url.encode(mac[:9])
