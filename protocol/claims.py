"""Claims about a user (OpenID Connect Core §5): what a scope or the `claims` parameter gives to a client.

Enters: a user's columns, the granted scope, and the claims request (the parsed `claims` parameter). Leaves:
members for the ID token or for the userinfo response. A claim that has no value is left out, never null
(§5.3.2). Sections without another name are those of OpenID Connect Core.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import InvalidRequestError

import errors
from crypto import base64url, jwt
from crypto.json_values import JsonObject
from protocol import scopes
from protocol.registered_client import RegisteredClient

SCOPE_CLAIMS: dict[str, tuple[str, ...]] = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
    # in no standard, but most applications read a user's roles from a claim of this name
    "groups": ("groups",),
}
USER_CLAIMS = tuple(name for names in SCOPE_CLAIMS.values() for name in names)
SUPPORTED = (
    "sub",
    "iss",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "azp",
    "at_hash",
    "sid",
    *USER_CLAIMS,
)
REQUEST_MEMBERS = ("id_token", "userinfo")  # of a claims request
SUBJECT_TYPES = ("public", "pairwise")
MAXIMUM_CLAIMS = 100
MAXIMUM_DEPTH = 5

ACR_PASSWORD = "urn:ostiary:acr:password"  # noqa: S105 - a name: signed in with a password
ACR_VALUES = (ACR_PASSWORD,)
AMR_PASSWORD = "pwd"  # noqa: S105 - RFC 8176 §2


class User(Protocol):
    """The columns of a user that claims are made of."""

    @property
    def name(self) -> str | None: ...

    @property
    def email(self) -> str | None: ...

    @property
    def email_verified_at(self) -> int | None: ...

    @property
    def claims(self) -> JsonObject | None: ...

    @property
    def created_at(self) -> int | None: ...

    @property
    def updated_at(self) -> int | None: ...


class SignIn(Protocol):
    """What a code or token keeps of the sign-in that it comes from."""

    @property
    def acr(self) -> str | None: ...

    @property
    def openid(self) -> JsonObject | None: ...


# ---- what a user's columns and a scope give ----------------------------------------------------------------


def of_user(user: User, names: Iterable[str]) -> JsonObject:
    """Return the values of those claims that the user has."""
    columns = {
        "name": user.name or None,
        "email": user.email,
        "email_verified": user.email_verified_at is not None,
        "updated_at": user.updated_at or user.created_at,
    }
    known = (user.claims or {}) | {name: value for name, value in columns.items() if value is not None}
    return {name: known[name] for name in names if name in known}


def names_of_scope(scope: str) -> list[str]:
    """Return the names of the claims that a scope gives (§5.4)."""
    return [name for word in scopes.split(scope) for name in SCOPE_CLAIMS.get(word, ())]


def userinfo(user: User, sub: str, scope: str, openid: JsonObject | None) -> JsonObject:
    """Return the members of the userinfo response (§5.3.2); `openid` is kept with the token."""
    names = [*names_of_scope(scope), *requested_claims(openid, "userinfo")]
    return {"sub": sub} | of_user(user, dict.fromkeys(name for name in names if name in USER_CLAIMS))


def username(user: User, scope: str) -> str | None:
    """Return the `username` of an introspection response (RFC 7662 §2.2); None where the scope hides it.

    With `email` it is the address, which no two users share. With `profile` alone it is the display name,
    which is for people to read: two users may have the same.
    """
    granted = scopes.split(scope)
    if "email" in granted:
        return user.email
    if "profile" in granted:
        return (user.claims or {}).get("preferred_username") or user.name or None
    return None


def acr(sign_in: SignIn) -> str | None:
    """Return how the user was authenticated. Rows from before migration 0005 have it in `openid`."""
    known: str | None = sign_in.acr or (sign_in.openid or {}).get("acr")
    return known


def at_hash(access_token: str, alg: str) -> str:
    """Return the `at_hash` of an ID token that is signed by `alg` (§3.1.3.6).

    It is the left half of the digest, by the hash function of the `alg`.
    """
    name = "sha512" if alg == "EdDSA" else "sha" + alg[-3:]
    digest = hashlib.new(name, access_token.encode("ascii")).digest()
    return base64url.encode(digest[: len(digest) // 2])


# ---- subject identifiers -----------------------------------------------------------------------------------


def subject(client: RegisteredClient, sub: str, pairwise_secret: bytes) -> str:
    """Return the `sub` of a user for one client (§8): the public one, or the one of the client's sector.

    A pairwise one is made from a secret of the user's row, so that it stays when the server's keys change
    (§8.1).
    """
    if not (own_sector := sector(client)):
        return sub
    return base64url.encode(hmac.digest(pairwise_secret, own_sector.encode(), "sha256"))


def remembered_subject(openid: JsonObject | None, sub: str) -> str:
    """Return the `sub` that the client of a token knows its user by.

    openid: what the token keeps of its authorization request; it has a `sub` only where that is pairwise.
    """
    return str((openid or {}).get("sub", sub))


def sector(client: RegisteredClient) -> str:
    """Return the sector of a client with pairwise subjects; "" for a client with public ones."""
    return "" if client.member("subject_type", "public") == "public" else sector_identifier(client)


def sector_identifier(client: RegisteredClient) -> str:
    """Return the host that a group of clients shares (§8.1). Registration made sure that there is one."""
    uri = client.member("sector_identifier_uri") or client.redirect_uris[0]
    return urlsplit(uri).hostname or uri


# ---- the claims request ------------------------------------------------------------------------------------


def parse_parameter(text: str) -> JsonObject:
    """Return the claims request of a `claims` parameter (§5.5). Raises InvalidRequestError.

    Members and claims that this server does not know are left out, as §5.5 has it. A value must be null or an
    object.
    """
    try:
        given = jwt.parse_object(text.encode())
    except errors.InvalidJwtError:
        raise InvalidRequestError("claims must be a JSON object") from None
    known: JsonObject = {}
    for member in REQUEST_MEMBERS:
        requested = given.get(member)
        if requested is None:
            continue
        if not isinstance(requested, dict) or len(requested) > MAXIMUM_CLAIMS:
            raise InvalidRequestError("claims asks in a way that its syntax does not allow, or for too much")
        for name, individual in requested.items():
            check_individual_request(individual)
            if name in SUPPORTED:
                known.setdefault(member, {})[name] = individual
    return known


def check_individual_request(individual: object) -> None:
    """Raise InvalidRequestError unless it is null, or an object as in §5.5.1."""
    if individual is None:
        return
    is_well_formed = (
        isinstance(individual, dict)
        and isinstance(individual.get("essential", False), bool)
        and isinstance(individual.get("values", []), list)
        and not is_deeper(individual, MAXIMUM_DEPTH)
    )
    if not is_well_formed:
        raise InvalidRequestError("claims asks in a way that its syntax does not allow, or for too much")


def is_deeper(value: object, levels: int) -> bool:
    """Return whether a JSON value has more than so many levels. Looks no deeper than that."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(is_deeper(item, levels - 1) for item in inner))


def requested_claims(openid: JsonObject | None, member: str) -> JsonObject:
    """Return what a claims request has under `id_token` or `userinfo` (§5.5)."""
    individual_requests: JsonObject = ((openid or {}).get("claims") or {}).get(member) or {}
    return individual_requests


def wanted_values(individual: object) -> list[object]:
    """Return the values that an individual claim request names, the preferred one first; [] for any value."""
    if not isinstance(individual, dict):
        return []
    return [individual["value"]] if "value" in individual else list(individual.get("values", []))


def is_essential(individual: object) -> bool:
    """Return whether an individual claim request is essential (§5.5.1)."""
    return isinstance(individual, dict) and individual.get("essential", False) is True


def serialize(claims_request: JsonObject) -> str:
    """Return the text of a claims request, as the parameter has it."""
    return json.dumps(claims_request, separators=(",", ":"))


# ---- the claims request and a client's registration --------------------------------------------------------


def scopes_of_request(claims_request: JsonObject) -> list[str]:
    """Return the scopes that stand for the claims of a request: the consent page names them (§3.1.2.4)."""
    requested = {name for member in REQUEST_MEMBERS for name in claims_request.get(member, {})}
    return [scope for scope, names in SCOPE_CLAIMS.items() if requested & set(names)]


def unregistered_scopes(claims_request: JsonObject, client: RegisteredClient) -> list[str]:
    """Return the scopes that stand for requested claims and that the client is not registered for."""
    return [scope for scope in scopes_of_request(claims_request) if client.get_allowed_scope(scope) is None]


def drop_unregistered(claims_request: JsonObject, client: RegisteredClient) -> JsonObject:
    """Return the request without claims of scopes that the client is not registered for (§5.5: ignored)."""
    unregistered = unregistered_scopes(claims_request, client)
    return without_scopes(claims_request, unregistered) if unregistered else claims_request


def without_scopes(claims_request: JsonObject, excluded: Iterable[str]) -> JsonObject:
    """Return the request without the claims of these scopes."""
    names = {name for scope in excluded for name in SCOPE_CLAIMS[scope]}
    return {
        member: {name: individual for name, individual in requested.items() if name not in names}
        for member, requested in claims_request.items()
    }


def still_allowed(openid: JsonObject | None, client: RegisteredClient) -> JsonObject | None:
    """Return what a token keeps of its request, without what the client may no longer have."""
    if openid is None or "claims" not in openid:
        return openid
    return openid | {"claims": drop_unregistered(openid["claims"], client)}
