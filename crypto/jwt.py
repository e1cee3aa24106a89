"""JSON Web Tokens as this server signs and reads them (RFC 7515, RFC 7519), with the advice of RFC 8725.

joserfc does the cryptography. This module checks the form of a token before its signature is verified:
compact, short, strict base64url, without `crit`, of an expected `typ` and an allowed `alg`. The caller
brings the keys: none is ever taken from a token's header.
"""

import json
import re
from collections.abc import Collection, Iterable
from typing import Any, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from crypto import base64url
from crypto.json_values import JsonObject
from errors import InvalidJwtError

MAXIMUM_LENGTH = 16_384
MAXIMUM_KID_LENGTH = 256
MAXIMUM_TRIES = 5  # keys that a token without a `kid` is tried with
SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
DEFAULT_ALG = "RS256"  # where a client registers none (OpenID Connect Registration §2)
SIGNING = (DEFAULT_ALG, "ES256", "EdDSA")  # what this server signs with
ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")  # what clients may sign with
SYMMETRIC = ("HS256", "HS384", "HS512")  # what clients may sign with under their secret
MINIMUM_RSA_BITS = 2048
MINIMUM_SECRET_OCTETS = {"HS256": 32, "HS384": 48, "HS512": 64}  # the size of the hash (RFC 7518 §3.2)
MAXIMUM_DATE = 2**53  # seconds; the integers that every JSON reader holds exactly (RFC 8259 §6)


class Registry(jws.JWSRegistry):
    """The algorithms of joserfc that are in a list of ours.

    joserfc itself warns of the name `EdDSA` (RFC 9864), which is the one that clients know Ed25519 by.
    """

    def __init__(self, algorithms: Collection[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)

    def get_alg(self, name: str) -> Any:  # joserfc does not export the type
        """Return an algorithm by its name. Raises InvalidJwtError for one that is not in the list."""
        if name not in (self.allowed or ()):
            raise InvalidJwtError("the alg is not allowed")
        return self.algorithms[name]


_SIGNERS = Registry(SIGNING)


def encode(claims: JsonObject, key: Key, alg: str, kid: str, typ: str = "JWT") -> str:
    """Return a signed token with these claims."""
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False)
    return jws.serialize_compact({"alg": alg, "kid": kid, "typ": typ}, payload, key, registry=_SIGNERS)


def decode(
    text: str,
    keys: Iterable[tuple[str | None, Key]],
    algorithms: Collection[str],
    typ: Collection[str | None],
) -> JsonObject:
    """Return the claims of a token that one of `keys` signed. Raises InvalidJwtError.

    keys: pairs of `kid` and key. typ: the values that the header may have, in lower case; None among them
    allows a header without.
    """
    header = read_header(text)
    if header["alg"] not in algorithms:
        raise InvalidJwtError("the alg is not allowed")
    if normalize_typ(header.get("typ")) not in typ:
        raise InvalidJwtError("the typ is not the expected one")
    registry = Registry(algorithms)
    for key in find_candidates(header, keys):
        try:
            signed = jws.deserialize_compact(text, key, registry=registry)
        except (JoseError, ValueError, TypeError):
            continue
        return parse_object(signed.payload or b"")
    raise InvalidJwtError("no known key has signed it")


def find_candidates(header: JsonObject, keys: Iterable[tuple[str | None, Key]]) -> list[Key]:
    """Return the keys that may have signed: of the type that the `alg` needs, and of the header's `kid`.

    For a header without a `kid` they are a few of all keys.
    """
    kid, key_type = header.get("kid"), key_type_of(header["alg"])
    suitable = [
        key
        for known, key in keys
        if isinstance(key, key_type) and (kid is None or known == kid) and may_sign(key, header["alg"])
    ]
    return suitable[:MAXIMUM_TRIES]


def may_sign(key: Key, alg: str) -> bool:
    """Return whether a key allows this use and is long enough.

    RFC 7517 §4.2 to §4.4, RFC 7518 §3.2 and §3.3.
    """
    if isinstance(key, OctKey):
        return len(key.raw_value) >= MINIMUM_SECRET_OCTETS[alg]
    members = key.as_dict(private=False)
    if members.get("use", "sig") != "sig" or members.get("alg", alg) != alg:
        return False
    return not isinstance(key, RSAKey) or key.raw_value.key_size >= MINIMUM_RSA_BITS


def key_type_of(alg: str) -> type[Key]:
    """Return the type of the keys that an algorithm signs with."""
    if alg in SYMMETRIC:
        return OctKey
    if alg.startswith("ES"):
        return ECKey
    return OKPKey if alg in ("EdDSA", "Ed25519") else RSAKey


def read_header(text: str) -> JsonObject:
    """Return the header of a well-formed token, whose signature is not verified. Raises InvalidJwtError."""
    if len(text) > MAXIMUM_LENGTH:
        raise InvalidJwtError("it is too long")
    segments = text.split(".")
    if len(segments) != 3 or not all(SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidJwtError("it is not three segments of base64url")
    header = parse_object([decode_segment(segment) for segment in segments][0])
    if not isinstance(header.get("alg"), str):
        raise InvalidJwtError("the alg is missing")
    if "crit" in header or "b64" in header:
        raise InvalidJwtError("it has critical extensions")
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAXIMUM_KID_LENGTH):
        raise InvalidJwtError("the kid is no short text")
    return header


def read_unverified(text: str) -> JsonObject:
    """Return the claims of a well-formed token, whose signature is not verified. Raises InvalidJwtError."""
    read_header(text)
    return parse_object(decode_segment(text.split(".")[1]))


def decode_segment(segment: str) -> bytes:
    """Return the bytes of a segment. Raises InvalidJwtError."""
    try:
        return base64url.decode_strictly(segment)
    except ValueError as error:
        raise InvalidJwtError(str(error)) from None


def parse_object(octets: bytes) -> JsonObject:
    """Return a JSON object. Raises InvalidJwtError for anything else.

    No member may come twice, and no number may be one that JSON has no text for (NaN, 1e999).
    """
    try:
        value = json.loads(octets.decode("utf-8"), object_pairs_hook=refuse_duplicates)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise InvalidJwtError("it is no proper JSON") from None
    if not isinstance(value, dict):
        raise InvalidJwtError("it is no JSON object")
    return value


def refuse_duplicates(pairs: list[tuple[str, object]]) -> JsonObject:
    """Return the members of an object. Raises ValueError where a name comes twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def normalize_typ(typ: object) -> str | None:
    """Return a `typ` in lower case and without `application/` (RFC 7515 §4.1.9); "?" for what is no text."""
    if typ is None:
        return None
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else "?"


def is_numeric_date(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a NumericDate (RFC 7519 §2), and small enough to calculate with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAXIMUM_DATE
