"""JWK Sets of clients (RFC 7517 §5, RFC 7518 §6): public keys that signatures are verified with.

Enters: a parsed `jwks`, as an operator registered it or a client published it. Leaves: what is wrong with it
in words, or the algorithms that its keys sign with. Keys for another use, or of an unknown type, are ignored:
clients publish one set for all servers. A private key is refused, not ignored, because nobody would notice
the leak.
"""

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from crypto import base64url
from crypto.json_values import JsonObject
from crypto.jwt import MAXIMUM_KID_LENGTH, MINIMUM_RSA_BITS
from protocol import roca

MAXIMUM_RSA_BITS = 8192  # a longer one takes long to verify with
PRIVATE_MEMBERS = frozenset("d p q dp dq qi oth k priv".split())  # RFC 7518 §6, RFC 9964 §3
TYPES: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
PUBLIC_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
RSA_ALGORITHMS = frozenset({"RS256", "PS256"})
ALGORITHMS_OF_CURVES = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
}
NO_ALGORITHMS = frozenset[str]()


def find_problem(jwks: object) -> str | None:
    """Return why a JWK Set cannot be registered, in words for the operator; None when it can.

    A set may have any number of keys.
    """
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not keys:
        return 'must be a JWK Set: {"keys": […]} with at least one key (RFC 7517 §5)'
    problems = [
        f"keys[{number}] {problem}" for number, key in enumerate(keys) if (problem := problem_of_key(key))
    ]
    if problems:
        return "will not do: " + ", ".join(problems)
    usable = [key for key in keys if algorithms_of_key(key)]
    kids = [key["kid"] for key in usable if "kid" in key]
    if len(set(kids)) != len(kids):
        return "has two keys with the same kid"
    return None if usable else "has no key that this server can verify a signature with"


def problem_of_key(jwk: object) -> str | None:
    """Return what is wrong with a key. Nothing is wrong with one that is ignored, unless it is secret."""
    if not isinstance(jwk, dict):
        return "is no JSON object"
    if jwk.get("kty") == "oct":
        return "is a symmetric key: a secret does not belong into a JWK Set"
    if PRIVATE_MEMBERS & jwk.keys():
        return "is a private key: make a new one, and register its public part"
    texts = [name for name in ("kty", "crv", "use", "alg") if not isinstance(jwk.get(name, ""), str)]
    if texts or not jwk.get("kty"):
        return (
            f"has {'an' if texts[0] == 'alg' else 'a'} {texts[0]} that is no text" if texts else "has no kty"
        )
    return problem_of_signing_key(jwk) if algorithms_of_key(jwk) or lacks_its_curve(jwk) else None


def lacks_its_curve(jwk: JsonObject) -> bool:
    """Return whether a key has no `crv`, though its type needs one."""
    return jwk["kty"] in ("EC", "OKP") and not jwk.get("crv")


def problem_of_signing_key(jwk: JsonObject) -> str | None:
    """Return what is wrong with a key that is for signatures."""
    kid = jwk.get("kid", "x")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAXIMUM_KID_LENGTH:
        return f"has a kid that is no text of 1 to {MAXIMUM_KID_LENGTH} characters"
    if jwk["kty"] == "RSA" and (problem := problem_of_modulus(read_modulus(jwk.get("n")))):
        return problem
    return None if read(jwk) is not None else "cannot be read: its members are not those of a public key"


def problem_of_modulus(modulus: int | None) -> str | None:
    """Return what is wrong with the modulus of an RSA key; None for the modulus is no problem of its own.

    It is checked before joserfc imports the key, which warns of a short one on stderr and needs long for a
    long one.
    """
    if modulus is None:
        return None  # the key cannot be read either
    if not MINIMUM_RSA_BITS <= modulus.bit_length() <= MAXIMUM_RSA_BITS:
        return f"is an RSA key of {modulus.bit_length()} bits: use {MINIMUM_RSA_BITS} to {MAXIMUM_RSA_BITS}"
    if roca.has_fingerprint(modulus):
        return (
            "is an RSA key whose private part can be computed from it (ROCA, CVE-2017-15361): make"
            " a new one elsewhere"
        )
    return None


def read_modulus(n: object) -> int | None:
    """Return the modulus of an RSA key, or None where it cannot be read."""
    try:
        return int.from_bytes(base64url.decode(n)) if isinstance(n, str) else None
    except ValueError:
        return None


def read(jwk: JsonObject) -> Key | None:
    """Return the key of a JWK; None where its members do not make one.

    Members about its use are left out: they are checked here, not by joserfc.
    """
    try:
        return TYPES[jwk["kty"]].import_key({name: jwk[name] for name in PUBLIC_MEMBERS[jwk["kty"]]})
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def algorithms(jwks: JsonObject) -> frozenset[str]:
    """Return the algorithms that the keys of a correct set sign with, of those that clients may use here."""
    return frozenset(alg for jwk in jwks["keys"] for alg in algorithms_of_key(jwk))


def algorithms_of_key(jwk: JsonObject) -> frozenset[str]:
    """Return the algorithms that a key allows (RFC 7517 §4.1 to §4.4).

    There is none for a key that is for encryption, or of an unknown type.
    """
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return NO_ALGORITHMS
    kind = jwk.get("kty"), jwk.get("crv")
    if not all(isinstance(word, str | None) for word in kind):
        return NO_ALGORITHMS
    able = RSA_ALGORITHMS if kind[0] == "RSA" else ALGORITHMS_OF_CURVES.get(kind, NO_ALGORITHMS)  # type: ignore[arg-type]
    return frozenset(alg for alg in able if jwk.get("alg", alg) == alg)
