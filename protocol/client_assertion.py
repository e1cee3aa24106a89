"""The claims of a client assertion, a short-lived JWT (RFC 7523 §3, OpenID Connect Core §9).

Enters: the token that came as `client_assertion`. Leaves: the client that it names, and after the signature
was verified, whether its claims are valid. Its only audience is the issuer (draft-ietf-oauth-rfc7523bis): an
assertion for several servers could be used by each of them at the others.
"""

import json
from collections.abc import Collection

from crypto import credentials, jwt
from crypto.json_values import JsonObject
from errors import InvalidJwtError
from protocol.parameters import VISIBLE

TYP = frozenset({None, "jwt", "client-authentication+jwt"})
MAXIMUM_LIFETIME = 600  # seconds; the `jti` is stored for as long
CLOCK_SKEW = 60
MAXIMUM_JTI_LENGTH = 256
MAXIMUM_CLIENT_ID_LENGTH = 255


def claimed_client_id(assertion: str) -> str:
    """Return the `iss` of an assertion whose signature is not verified; "" where it can be no client_id."""
    try:
        client_id = jwt.read_unverified(assertion).get("iss")
    except InvalidJwtError:
        return ""
    if not isinstance(client_id, str) or len(client_id) > MAXIMUM_CLIENT_ID_LENGTH:
        return ""
    return client_id if VISIBLE.fullmatch(client_id) else ""


def check_claims(claims: JsonObject, client_id: str, audiences: Collection[str], now: int) -> None:
    """Raise InvalidJwtError unless the claims are those of an assertion of this client, and valid now."""
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise InvalidJwtError("iss and sub are not both the client_id")
    audience = claims.get("aud")
    if not isinstance(audience, str) or audience not in audiences:
        raise InvalidJwtError("the aud is not this server alone")
    check_times(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAXIMUM_JTI_LENGTH:
        raise InvalidJwtError("the jti is no short text")


def check_times(claims: JsonObject, now: int) -> None:
    """Raise InvalidJwtError unless the assertion is valid now, and for a short time only."""
    expires_at = claims.get("exp")
    if not jwt.is_numeric_date(expires_at):
        raise InvalidJwtError("the exp is missing")
    if expires_at <= now:
        raise InvalidJwtError("it has expired")
    if expires_at > now + MAXIMUM_LIFETIME:
        raise InvalidJwtError("it lives for too long")
    for name in ("nbf", "iat"):
        begins_at = claims.get(name, now)
        if not jwt.is_numeric_date(begins_at) or begins_at > now + CLOCK_SKEW:
            raise InvalidJwtError("it is not good yet")


def digest_of_jti(claims: JsonObject) -> bytes:
    """Return the digest that an assertion is remembered by. Two clients may use the same `jti`."""
    return credentials.digest(json.dumps([claims["iss"], claims["jti"]]))


def remember_until(claims: JsonObject) -> int:
    """Return until when the `jti` is remembered: a node whose clock is behind still accepts the token."""
    return int(claims["exp"]) + CLOCK_SKEW
