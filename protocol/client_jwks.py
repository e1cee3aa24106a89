"""JWK Sets that clients register: public keys that this server can verify signatures with (RFC 7517 §5, RFC 7518 §6).

Enters: a parsed `jwks`, as an operator gave it. Leaves: what is wrong with it in words, or the algorithms that its keys sign with.
A private key in it is a leak that nobody would notice, so it is refused and not ignored.
"""

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from protocol.jwt import MAXIMUM_KID_LENGTH, MINIMUM_RSA_BITS

MAXIMUM_KEYS = 20
MAXIMUM_RSA_BITS = 8192  # a longer one takes long to verify with
PRIVATE_MEMBERS = frozenset("d p q dp dq qi oth k".split())
TYPES: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
RSA_ALGORITHMS = frozenset({"RS256", "PS256"})
ALGORITHMS_OF_CURVES = {
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA", "Ed25519"}),
}


def find_problem(jwks: Any) -> str | None:
    """Why this cannot be registered, in words for the operator, or None when it can."""
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAXIMUM_KEYS:
        return f'must be a JWK Set: {{"keys": […]}} with 1 to {MAXIMUM_KEYS} keys (RFC 7517 §5)'
    problems = [f"keys[{number}] {problem}" for number, key in enumerate(keys) if (problem := problem_of_key(key))]
    if problems:
        return "will not do: " + ", ".join(problems)
    kids = [key["kid"] for key in keys if "kid" in key]
    if len(set(kids)) != len(kids):
        return "has two keys with the same kid"
    if not algorithms(jwks):
        return "has no key that this server can verify a signature with"
    return None


def problem_of_key(jwk: Any) -> str | None:
    if not isinstance(jwk, dict):
        return "is no JSON object"
    if jwk.get("kty") == "oct":
        return "is a symmetric key: a secret does not belong into a JWK Set"
    if PRIVATE_MEMBERS & jwk.keys():
        return "is a private key: make a new one, and register its public part"
    if jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return "has a kty other than RSA, EC or OKP"
    kid = jwk.get("kid", "x")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAXIMUM_KID_LENGTH:
        return f"has a kid that is no text of 1 to {MAXIMUM_KID_LENGTH} characters"
    bits = modulus_bits(jwk.get("n"))
    if jwk["kty"] == "RSA" and bits is not None and not MINIMUM_RSA_BITS <= bits <= MAXIMUM_RSA_BITS:
        return f"is an RSA key of {bits} bits: use {MINIMUM_RSA_BITS} to {MAXIMUM_RSA_BITS}"
    return None if read(jwk) is not None else "cannot be read: its members are not those of a public key"


def modulus_bits(n: Any) -> int | None:
    """Told before the key is made of it: joserfc warns of a short one on stderr, and a long one takes long."""
    try:
        return int.from_bytes(urlsafe_b64decode(n + "=" * (-len(n) % 4))).bit_length()
    except (TypeError, ValueError):
        return None


def read(jwk: dict[str, Any]) -> Key | None:
    """The key; None where its members do not make one."""
    try:
        return TYPES[jwk["kty"]].import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def algorithms(jwks: dict[str, Any]) -> frozenset[str]:
    """What a set without problems can sign with, of what clients may sign with here."""
    return frozenset(alg for jwk in jwks["keys"] for alg in algorithms_of_key(jwk))


def algorithms_of_key(jwk: dict[str, Any]) -> Iterator[str]:
    """As the key says of itself (RFC 7517 §4.2 to §4.4): a key for encryption signs nothing."""
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return
    able = RSA_ALGORITHMS if jwk["kty"] == "RSA" else ALGORITHMS_OF_CURVES.get(jwk["crv"], frozenset())
    yield from (able & {jwk["alg"]} if "alg" in jwk else able)
