"""Base64url without padding (RFC 7515 §2), as JOSE, PKCE and our own cookies write bytes."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def encode(octets: bytes) -> str:
    """Return the text of some bytes, without padding."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes of a text. Raises ValueError for text that is no base64url."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def decode_strictly(text: str) -> bytes:
    """Return the bytes of a text that `encode` could have written. Raises ValueError for any other text.

    Base64url has several texts for the same bytes: a decoder may ignore unused bits and foreign characters.
    """
    try:
        octets = decode(text)
    except ValueError:
        raise ValueError("it is not base64url") from None
    if encode(octets) != text:
        raise ValueError("it is not base64url in its one spelling")
    return octets
