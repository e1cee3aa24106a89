"""What the certification suite checks of every answer, whatever a module is about, as assertions.

`docs/certification.md` lists its conditions by name and says which function here stands for which. What it
only warns of is asserted like what it fails for.
"""

import hashlib
import math
import re
from base64 import urlsafe_b64encode
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, import_key

from protocol import clock
from tests.builders import ISSUER
from tests.openid import ALGORITHMS, AllNames

SKEW = 5 * 60
YEAR = 365 * 24 * 3600
BITS = 128  # of what must not be guessed, by its length
ENTROPY = 96  # the same, estimated from its characters
VISIBLE = re.compile(r"[\x20-\x7E]+")  # VSCHAR, RFC 6749 appendix A
ERROR_TEXT = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §4.1.2.1, §5.2
ERROR_MEMBERS = {"error", "error_description", "error_uri", "state", "session_state", "iss"}
NEEDS_A_PAGE = {"interaction_required", "login_required", "account_selection_required", "consent_required"}
KEY_TYPES = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
PUBLIC_MEMBERS = {"kty", "kid", "use", "alg", "n", "e", "crv", "x", "y"}  # anything else could be private
BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
OF_THE_ID_TOKEN = set(
    "iss sub aud exp iat auth_time nonce acr amr azp at_hash c_hash nbf jti sid s_hash txn".split()
)

SCOPE_CLAIMS = {
    "openid": {"sub"},
    "profile": set(
        "name given_name family_name middle_name nickname profile picture website gender birthdate"
        " zoneinfo locale"
        " updated_at preferred_username".split()
    ),
    "email": {"email", "email_verified"},
    "address": {"address"},
    "phone": {"phone_number", "phone_number_verified"},
    "offline_access": set(),
}
TEXT_CLAIMS = (SCOPE_CLAIMS["profile"] | {"sub", "email", "phone_number"}) - {"updated_at"}
ADDRESS_MEMBERS = set("formatted street_address locality region postal_code country".split())


# ---- before the flow ---------------------------------------------------------------------------------------


def check_server(answer, party):
    """The metadata have what a flow needs, and the way in which this client authenticates. Returns them."""
    assert answer.status_code == 200
    metadata = answer.json
    assert metadata["issuer"] == ISSUER
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        check_address(metadata[name])
    assert party.auth_method in metadata["token_endpoint_auth_methods_supported"]
    return metadata


def check_address(address):
    parts = urlsplit(address)
    assert parts.scheme == "https" and parts.hostname and "@" not in parts.netloc
    assert parts.port is None or 0 < parts.port < 65536


def check_keys(answer):
    """Public keys only, each well formed, with a `kid` of its own. Returns the JWK set."""
    assert answer.status_code == 200
    keys = answer.json["keys"]
    for key in keys:
        assert key.keys() <= PUBLIC_MEMBERS and key["kty"] == KEY_TYPES[key["alg"]]
        assert all(BASE64URL.fullmatch(key[name]) for name in ("n", "e", "x", "y") if name in key)
        assert import_key(key).key_type == key["kty"]
    assert all(key["kid"] for key in keys) and len({key["kid"] for key in keys}) == len(keys) > 0
    return answer.json


# ---- the authorization endpoint ----------------------------------------------------------------------------


def check_authorization_response(authorization):
    """A code, at the client: the `state` of the request, the issuer, and a code that cannot be guessed."""
    answer = check_comes_from_here(authorization)
    assert "error" not in answer
    assert answer.get("state") == authorization.sent.get("state")
    assert set(answer) <= {"code", "state", "iss"}
    check_is_random(answer["code"])


def check_error_response(authorization, errors, state=True):
    """One of these errors, at the client, and no code. state: whether the server can know it."""
    answer = check_comes_from_here(authorization)
    assert answer["error"] in errors and "code" not in answer
    assert answer.get("state") == (authorization.sent["state"] if state else None)
    assert answer.keys() <= ERROR_MEMBERS
    check_error_texts(answer)
    return answer


def check_comes_from_here(authorization):
    """The parameters that came to the redirect URI of the request, with the issuer among them (RFC 9207)."""
    assert authorization.answer.status_code in (302, 303)
    assert authorization.destination == authorization.sent["redirect_uri"]
    assert authorization.parameters["iss"] == ISSUER
    return authorization.parameters


def check_is_no_redirect(visit):
    """An error, shown as a page; nobody is sent anywhere."""
    assert visit.answer.status_code == 400 and visit.answer.mimetype == "text/html"
    assert (
        not set(visit.answer.headers.keys()) & {"Location", "Refresh"}
        and "http-equiv" not in visit.answer.text
    )
    assert visit.headings == ["This link does not work"]
    assert visit.pages[-1].forms == []


def check_error_texts(answer):
    assert ERROR_TEXT.fullmatch(answer["error"])
    assert ERROR_TEXT.fullmatch(answer.get("error_description", "-"))
    check_address(answer.get("error_uri", ISSUER))


# ---- the token endpoint ------------------------------------------------------------------------------------


def check_token_response(answer):
    """RFC 6749 §5.1. Returns the members."""
    assert answer.status_code == 200 and answer.mimetype == "application/json"
    assert "no-store" in [part.strip() for part in answer.headers["Cache-Control"].split(",")]
    tokens = answer.json
    assert "error" not in tokens
    assert tokens["token_type"].lower() == "bearer"
    assert type(tokens["expires_in"]) is int and 0 < tokens["expires_in"] <= YEAR
    for name in ("access_token", "refresh_token"):
        if name in tokens:
            assert VISIBLE.fullmatch(tokens[name])
            check_is_random(tokens[name])
    return tokens


def check_refused(answer, error):
    """RFC 6749 §5.2."""
    assert (answer.status_code, answer.mimetype, answer.json["error"]) == (400, "application/json", error)
    assert not answer.json.keys() & {"access_token", "id_token", "refresh_token"}
    check_error_texts(answer.json)


def check_is_random(text):
    """Long enough, and of enough different characters: Shannon's entropy of a character, times
    their number.
    """
    assert len(text) * 8 >= BITS
    shares = [count / len(text) for count in Counter(text).values()]
    assert -sum(share * math.log2(share) for share in shares) * len(text) > ENTROPY


# ---- the ID token ------------------------------------------------------------------------------------------


def check_id_token(party, tokens, nonce):
    """Signature and claims (OpenID Connect Core §2, §3.1.3.6, §3.1.3.7). Returns header and claims."""
    header, claims = check_signature(party, tokens["id_token"])
    now = clock.now()
    assert claims["iss"] == party.metadata["issuer"]
    assert claims["aud"] in (party.client_id, [party.client_id])
    assert claims["azp"] == party.client_id
    assert now < claims["exp"] <= now + YEAR
    assert abs(claims["iat"] - now) <= SKEW and type(claims["iat"]) is int
    assert now - YEAR <= claims["auth_time"] <= claims["iat"]
    assert claims.get("nonce") == nonce
    assert isinstance(claims["acr"], str) and claims["acr"]
    assert re.fullmatch(r"[\x20-\x7E]{1,255}", claims["sub"])
    assert claims["at_hash"] == half_digest(header["alg"], tokens["access_token"])
    assert not claims.keys() & {"c_hash", "s_hash"}  # of other flows
    # nothing that nobody asked for; what a scope asks for is at userinfo
    assert claims.keys() <= OF_THE_ID_TOKEN
    return header, claims


def check_signature(party, text, typ="JWT"):
    """By the one published key that has this `kid`, and is for this `alg`. Returns header and claims."""
    token = jwt.decode(text, KeySet.import_key_set(party.jwks), registry=AllNames(algorithms=ALGORITHMS))
    [key] = [key for key in party.jwks["keys"] if key["kid"] == token.header["kid"]]
    alg = token.header["alg"]
    assert (key["kty"], key["alg"], key["use"]) == (KEY_TYPES[alg], alg, "sig")
    assert token.header["typ"] == typ
    return token.header, token.claims


def half_digest(alg, text):
    digest = hashlib.new({"EdDSA": "sha512"}.get(alg, "sha256"), text.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


# ---- userinfo ----------------------------------------------------------------------------------------------


def check_userinfo_response(answer, id_token):
    """As JSON, of the same person as the ID token, each claim of the type that it has (OpenID Connect Core
    §5.1, §5.3.2).
    """
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    check_standard_claims(answer.json)
    assert answer.json["sub"] == id_token["sub"]
    assert not answer.json.keys() & {"_claim_names", "_claim_sources"}
    return answer.json


def check_standard_claims(claims):
    """No claim is null, blank or the word "null"; there are none that OpenID Connect does not know."""
    texts = {name: claims[name] for name in claims if name in TEXT_CLAIMS}
    assert claims.keys() - texts.keys() <= {
        "email_verified",
        "phone_number_verified",
        "address",
        "updated_at",
    }
    check_texts(texts)
    check_texts(claims.get("address", {}))
    assert claims.get("address", {}).keys() <= ADDRESS_MEMBERS
    assert all(type(claims.get(name, True)) is bool for name in ("email_verified", "phone_number_verified"))
    check_birthdate(claims.get("birthdate", "0000-02-29"))
    updated_at = claims.get("updated_at", clock.now())
    assert type(updated_at) is int
    assert datetime(1990, 1, 1, tzinfo=UTC).timestamp() <= updated_at <= clock.now() + SKEW


def check_texts(claims):
    for name, value in claims.items():
        assert isinstance(value, str) and value.strip() and value.lower() != "null", name


def check_birthdate(text):
    """YYYY-MM-DD, 0000-MM-DD or YYYY, of somebody who may be alive or invented."""
    match = re.fullmatch(r"(\d{4})(-\d\d-\d\d)?", text)
    year, day = match[1], match[2]
    assert (year == "0000" and day) or 1850 <= int(year) <= datetime.now(UTC).year
    if day:
        datetime.fromisoformat(("2000" if year == "0000" else year) + day)
