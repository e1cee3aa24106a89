"""JSON Web Tokens as this server signs and reads them (RFC 7515, RFC 7519), with the advice of RFC 8725
taken.

joserfc does the cryptography. Here stands what a token must look like before its signature is worth checking:
compact, short, in the one spelling that base64url has, without `crit`, of an expected `typ` and an allowed
`alg`. Keys come from whoever reads the token, never from its header.
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
SIGNING = ("RS256", "ES256", "EdDSA")  # what this server signs with
ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")  # what clients may sign with
SYMMETRIC = ("HS256", "HS384", "HS512")  # with their secret
MINIMUM_RSA_BITS = 2048
MINIMUM_SECRET_OCTETS = {"HS256": 32, "HS384": 48, "HS512": 64}  # as many as the hash has (RFC 7518 §3.2)
MAXIMUM_DATE = 2**53  # seconds; what JSON numbers hold exactly everywhere (RFC 8259 §6)


class Registry(jws.JWSRegistry):
    """joserfc's algorithms, from our own list.

    It warns of `EdDSA`, the name that clients know Ed25519 by (RFC 9864).
    """

    def __init__(self, algorithms: Collection[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()):
            raise InvalidJwtError("the alg is not allowed")
        return self.algorithms[name]


_SIGNERS = Registry(SIGNING)


def encode(claims: JsonObject, key: Key, alg: str, kid: str, typ: str = "JWT") -> str:
    """A signed token of these claims."""
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False)
    return jws.serialize_compact({"alg": alg, "kid": kid, "typ": typ}, payload, key, registry=_SIGNERS)


def decode(
    text: str,
    keys: Iterable[tuple[str | None, Key]],
    algorithms: Collection[str],
    typ: Collection[str | None],
) -> JsonObject:
    """The claims of a token that one of `keys` signed. Raises InvalidJwtError.

    keys: pairs of `kid` and key. typ: the values that the header may have, in lower case; None among them for
    a header without.
    """
    header = read_header(text)
    if header["alg"] not in algorithms:
        raise InvalidJwtError("the alg is not allowed")
    if normal_typ(header.get("typ")) not in typ:
        raise InvalidJwtError("the typ is not the expected one")
    registry = Registry(algorithms)
    for key in candidates(header, keys):
        try:
            signed = jws.deserialize_compact(text, key, registry=registry)
        except (JoseError, ValueError, TypeError):
            continue
        return strict_object(signed.payload or b"")
    raise InvalidJwtError("no known key has signed it")


def candidates(header: JsonObject, keys: Iterable[tuple[str | None, Key]]) -> list[Key]:
    """The keys that may have signed: of the header's `kid` where it names one, and of the kind that the `alg`
    needs.
    """
    kid, kind = header.get("kid"), key_type_of(header["alg"])
    suitable = [
        key
        for known, key in keys
        if isinstance(key, kind) and (kid is None or known == kid) and may_sign(key, header["alg"])
    ]
    return suitable[:MAXIMUM_TRIES]


def may_sign(key: Key, alg: str) -> bool:
    """Whether what the key says of itself allows it (RFC 7517 §4.2 to §4.4), and it is long enough (RFC 7518
    §3.2, §3.3).
    """
    if isinstance(key, OctKey):
        return len(key.raw_value) >= MINIMUM_SECRET_OCTETS[alg]
    members = key.as_dict(private=False)
    if members.get("use", "sig") != "sig" or members.get("alg", alg) != alg:
        return False
    return not isinstance(key, RSAKey) or key.raw_value.key_size >= MINIMUM_RSA_BITS


def key_type_of(alg: str) -> type[Key]:
    if alg in SYMMETRIC:
        return OctKey
    if alg.startswith("ES"):
        return ECKey
    return OKPKey if alg in ("EdDSA", "Ed25519") else RSAKey


def read_header(text: str) -> JsonObject:
    """The header of a token that is well-formed as a whole; nothing of it is proven yet.

    Raises InvalidJwtError.
    """
    if len(text) > MAXIMUM_LENGTH:
        raise InvalidJwtError("it is too long")
    segments = text.split(".")
    if len(segments) != 3 or not all(SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidJwtError("it is not three segments of base64url")
    header = strict_object([canonical(segment) for segment in segments][0])
    if not isinstance(header.get("alg"), str):
        raise InvalidJwtError("the alg is missing")
    if "crit" in header or "b64" in header:
        raise InvalidJwtError("it has critical extensions")
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAXIMUM_KID_LENGTH):
        raise InvalidJwtError("the kid is no short text")
    return header


def read_unverified(text: str) -> JsonObject:
    """The claims of a well-formed token, of which nothing is proven yet. Raises InvalidJwtError."""
    read_header(text)
    return strict_object(canonical(text.split(".")[1]))


def canonical(segment: str) -> bytes:
    """The bytes of a segment, which must be the one spelling of them."""
    try:
        return base64url.decode_strictly(segment)
    except ValueError as error:
        raise InvalidJwtError(str(error)) from None


def strict_object(raw: bytes) -> JsonObject:
    """A JSON object without doubled members and without what JSON has no word for (NaN, 1e999).

    Raises InvalidJwtError.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=without_doubles)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise InvalidJwtError("it is no proper JSON") from None
    if not isinstance(value, dict):
        raise InvalidJwtError("it is no JSON object")
    return value


def without_doubles(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def normal_typ(typ: Any) -> str | None:
    """`application/` may be left out, and case does not matter (RFC 7515 §4.1.9)."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else typ if typ is None else "?"


def is_numeric_date(value: Any) -> TypeGuard[int | float]:
    """RFC 7519 §2. A number of a size that dates have: arithmetic with any other raises OverflowError."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAXIMUM_DATE
