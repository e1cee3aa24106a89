"""Proof Key for Code Exchange, with S256 only (RFC 7636, OAuth 2.1 §4.1.1)."""

import hashlib
import hmac
import re

from crypto import base64url

CODE_CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")  # base64url of 32 bytes, without padding
CODE_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")  # RFC 7636 §4.1


def s256(code_verifier: str) -> str:
    """Return the code challenge of a verifier (RFC 7636 §4.2)."""
    return base64url.encode(hashlib.sha256(code_verifier.encode("ascii")).digest())


def matches(code_verifier: str | None, code_challenge: str | None) -> bool:
    """Return whether a verifier belongs to a challenge.

    It does where both are None; one without the other never does (RFC 9700 §4.8.2).
    """
    if code_challenge is None or code_verifier is None:
        return code_challenge is None and code_verifier is None
    if not CODE_VERIFIER.fullmatch(code_verifier):
        return False
    return hmac.compare_digest(s256(code_verifier), code_challenge)
