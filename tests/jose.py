"""Signed tokens for tests, good ones and bent ones, and what a client publishes of its keys."""

import json
import secrets
from base64 import urlsafe_b64encode
from functools import cache
from math import gcd, prod

from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from protocol import clock
from protocol.parameters import JWT_BEARER
from tests import rsa_keys
from tests.builders import ISSUER


@cache
def key_for(alg, kid="a"):
    """A private key of the kind that `alg` needs; the same one each time."""
    parameters = {"kid": kid} if kid else None
    if alg.startswith("ES"):
        return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg], parameters)
    if alg in ("EdDSA", "Ed25519"):
        return OKPKey.generate_key("Ed25519", parameters)
    key = rsa_keys.private_key(f"client-{kid}")
    return RSAKey(key, key, parameters)


@cache
def roca_key(kid="roca", first=126):
    """A key as Infineon's library made them (CVE-2017-15361): primes of the form k·M + (65537^a mod M).

    first: how many primes M is the product of; 126 are those of a key of 2048 bits.
    """
    small = [n for n in range(2, 1_500) if all(n % divisor for divisor in range(2, int(n**0.5) + 1))][:first]
    primorial = prod(small)

    def prime():
        while True:  # in the upper part of 1024 bits, so that the product of two has 2048
            k = (3 * 2**1022 + secrets.randbelow(2**1022)) // primorial
            found = k * primorial + pow(65537, secrets.randbits(64), primorial)
            if found.bit_length() == 1024 and all(pow(base, found - 1, found) == 1 for base in (2, 3, 5)):
                return found

    while True:
        p, q = prime(), prime()
        if p != q and gcd(65537, (p - 1) * (q - 1)) == 1:
            d = pow(65537, -1, (p - 1) * (q - 1))
            numbers = rsa.RSAPrivateNumbers(
                p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
            )
            return RSAKey(numbers.private_key(), numbers.private_key(), {"kid": kid})


def public(key, **changed):
    """Its public JWK."""
    members = key.as_dict(private=False) | changed
    return {name: value for name, value in members.items() if value is not None}


def jwks(*keys):
    return {"keys": [key if isinstance(key, dict) else public(key) for key in keys]}


def segment(content):
    """base64url of an object, text or bytes."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    return (
        urlsafe_b64encode(content if isinstance(content, bytes) else content.encode()).rstrip(b"=").decode()
    )


def sign(claims, key, alg="ES256", **header):
    """A token.

    Claims may be text, to be signed as it is; a header of None is left out. Nothing is too odd to be signed.
    """
    members = {"alg": alg, "typ": "JWT", "kid": None if isinstance(key, OctKey) else key.kid} | header
    members = {name: value for name, value in members.items() if value is not None}
    signed = f"{segment(members)}.{segment(claims)}"
    return f"{signed}.{segment(jws.JWSRegistry.algorithms[alg].sign(signed.encode(), key))}"


def secret_key(secret):
    """For HMAC, whatever the secret is: a public key, for instance."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    return OctKey(raw, raw)


def assertion_claims(client_id="robot", **changed):
    """Of a client assertion. A value of None leaves the claim out."""
    now = clock.now()
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": ISSUER,
        "exp": now + 60,
        "iat": now,
        "jti": secrets.token_hex(8),
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


def with_assertion(assertion, **body):
    """The body of a request that is authenticated so."""
    return {"client_assertion_type": JWT_BEARER, "client_assertion": assertion} | body
