"""What clients are told of a person (OpenID Connect Core §5): the claims that a scope or the `claims`
parameter asks for.

Enters: a person's columns, a granted scope, a client's wishes. Leaves: members for the ID token or for
userinfo. A claim that the person has not filled in is left out, never null (§5.3.2).
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import InvalidRequestError

import errors
from crypto import base64url, jwt
from crypto.json_values import JsonObject
from protocol import scopes

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
    # no standard has it, and yet most applications read a person's roles from this name
    "groups": ("groups",),
}
PERSON_CLAIMS = tuple(name for names in SCOPE_CLAIMS.values() for name in names)
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
    *PERSON_CLAIMS,
)
SUBJECT_TYPES = ("public", "pairwise")
MAXIMUM_CLAIMS = 100
MAXIMUM_DEPTH = 5

ACR_PASSWORD = "urn:ostiary:acr:password"  # noqa: S105 - a name: signed in with a password
ACR_VALUES = (ACR_PASSWORD,)
AMR_PASSWORD = "pwd"  # noqa: S105 - RFC 8176 §2


class Person(Protocol):
    """The columns of `end_user` that claims are made of."""

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
    """What a code or a token remembers of the sign-in that it comes from."""

    @property
    def acr(self) -> str | None: ...

    @property
    def openid(self) -> JsonObject | None: ...


class Registration(Protocol):
    """What of a client decides which `sub` it gets."""

    redirect_uris: list[str]

    def member(self, name: str, default: Any = None) -> Any: ...


def of_person(person: Person, names: Iterable[str]) -> JsonObject:
    """The values of those claims that the person has."""
    own = {
        "name": person.name or None,
        "email": person.email,
        "email_verified": person.email_verified_at is not None,
        "updated_at": person.updated_at or person.created_at,
    }
    known = (person.claims or {}) | {name: value for name, value in own.items() if value is not None}
    return {name: known[name] for name in names if name in known}


def names_of_scope(scope: str) -> list[str]:
    """§5.4."""
    return [name for word in scopes.split(scope) for name in SCOPE_CLAIMS.get(word, ())]


def scopes_of_wishes(wishes: JsonObject) -> list[str]:
    """The scopes that stand for the claims of a `claims` parameter: in their words a person allows them
    (§3.1.2.4).
    """
    asked = {name for member in ("id_token", "userinfo") for name in wishes.get(member, {})}
    return [scope for scope, names in SCOPE_CLAIMS.items() if asked & set(names)]


def without_scopes(wishes: JsonObject, scopes_left_out: Iterable[str]) -> JsonObject:
    """The wishes but for the claims of these scopes, which the client may not have: ignored, as
    §5.5 has it.
    """
    names = {name for scope in scopes_left_out for name in SCOPE_CLAIMS[scope]}
    return {
        member: {name: wish for name, wish in asked.items() if name not in names}
        for member, asked in wishes.items()
    }


def username(person: Person, scope: str) -> str | None:
    """RFC 7662 §2.2: what a mail or file server calls the person, where the scope shows it; None for a
    machine.

    With `email` the address, which no two people have. With `profile` alone what they like to be called,
    which is for people to read: two may have the same.
    """
    granted = scopes.split(scope)
    if "email" in granted:
        return person.email
    if "profile" in granted:
        return (person.claims or {}).get("preferred_username") or person.name or None
    return None


class Registered(Protocol):
    """What of a client decides which claims it may ask for one by one."""

    def get_allowed_scope(self, scope: str | None) -> str | None: ...


def wishes_of_registration(wishes: JsonObject, client: Registered) -> JsonObject:
    """The wishes that the client may have: a claim by itself is no way around the scopes that it is
    registered for.
    """
    left_out = unregistered_scopes(wishes, client)
    return without_scopes(wishes, left_out) if left_out else wishes


def unregistered_scopes(wishes: JsonObject, client: Registered) -> list[str]:
    """The scopes that stand for wishes of a client, and that it is not registered for."""
    return [scope for scope in scopes_of_wishes(wishes) if client.get_allowed_scope(scope) is None]


def still_allowed(openid: JsonObject | None, client: Registered) -> JsonObject | None:
    """What a token remembers of its authorization request, in the bounds of a registration that may have been
    narrowed since.
    """
    if openid is None or "claims" not in openid:
        return openid
    return openid | {"claims": wishes_of_registration(openid["claims"], client)}


def userinfo(person: Person, sub: str, scope: str, openid: JsonObject | None) -> JsonObject:
    """The members of the userinfo response (§5.3.2). openid: what the token remembers of its authorization
    request.
    """
    names = [*names_of_scope(scope), *requested(openid, "userinfo")]
    return {"sub": sub} | of_person(person, dict.fromkeys(name for name in names if name in PERSON_CLAIMS))


def acr(sign_in: SignIn) -> str | None:
    """How the person proved who they are. The version before kept that with `openid` alone."""
    known: str | None = sign_in.acr or (sign_in.openid or {}).get("acr")
    return known


def requested(openid: JsonObject | None, member: str) -> JsonObject:
    """What the `claims` parameter asked for in `id_token` or `userinfo` (§5.5)."""
    wishes: JsonObject = ((openid or {}).get("claims") or {}).get(member) or {}
    return wishes


def subject(client: Registration, sub: str, pairwise_secret: bytes) -> str:
    """The `sub` that this client knows the person by (§8): everybody's, or one that only its sector knows.

    Made from a secret of the person's own, so that it stays when keys of the server change (§8.1).
    """
    if not (own_sector := sector(client)):
        return sub
    return base64url.encode(hmac.digest(pairwise_secret, own_sector.encode(), "sha256"))


def remembered_subject(openid: JsonObject | None, sub: str) -> str:
    """Return the `sub` that the client of a token knows its user by.

    openid: what the token remembers of its authorization request; it has a `sub` only where that is pairwise.
    """
    return str((openid or {}).get("sub", sub))


def sector(client: Registration) -> str:
    """Of a client with pairwise subjects; "" for one that knows people as everybody does."""
    return "" if client.member("subject_type", "public") == "public" else sector_identifier(client)


def sector_identifier(client: Registration) -> str:
    """§8.1: the host that a group of clients shares. Registration made sure that there is one."""
    uri = client.member("sector_identifier_uri") or client.redirect_uris[0]
    return urlsplit(uri).hostname or uri


def at_hash(access_token: str, alg: str) -> str:
    """§3.1.3.6: the left half of the digest that belongs to the `alg` of the ID token's signature."""
    name = "sha512" if alg == "EdDSA" else "sha" + alg[-3:]
    digest = hashlib.new(name, access_token.encode("ascii")).digest()
    return base64url.encode(digest[: len(digest) // 2])


def parse_parameter(text: str) -> JsonObject:
    """The `claims` parameter (§5.5), cut down to what this server has. Raises InvalidRequestError.

    Members and claims that it does not know are ignored, as §5.5 has it; a value must be null or an object.
    """
    try:
        wishes = jwt.parse_object(text.encode())
    except errors.InvalidJwtError:
        raise InvalidRequestError("claims must be a JSON object") from None
    kept: JsonObject = {}
    for member in ("id_token", "userinfo"):
        asked = wishes.get(member)
        if asked is None:
            continue
        if not isinstance(asked, dict) or len(asked) > MAXIMUM_CLAIMS:
            raise InvalidRequestError("claims asks in a way that its syntax does not allow, or for too much")
        for name, wish in asked.items():
            check_wish(wish)
            if name in SUPPORTED:
                kept.setdefault(member, {})[name] = wish
    return kept


def check_wish(wish: Any) -> None:
    """§5.5.1: null, or an object with `essential`, `value` and `values`."""
    if wish is None:
        return
    well_formed = isinstance(wish, dict) and isinstance(wish.get("essential", False), bool)
    if not well_formed or not isinstance(wish.get("values", []), list) or is_deeper(wish, MAXIMUM_DEPTH):
        raise InvalidRequestError("claims asks in a way that its syntax does not allow, or for too much")


def is_deeper(value: Any, levels: int) -> bool:
    """It goes no further down than it has to: what is nested a thousand times must not cost a
    thousand calls.
    """
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(is_deeper(item, levels - 1) for item in inner))


def wanted_values(wish: Any) -> list[Any]:
    """The values that an individual claim request names, most wanted first; [] when any will do."""
    if not isinstance(wish, dict):
        return []
    return [wish["value"]] if "value" in wish else list(wish.get("values", []))


def is_essential(wish: Any) -> bool:
    return isinstance(wish, dict) and wish.get("essential", False) is True


def as_text(claims: JsonObject) -> str:
    return json.dumps(claims, separators=(",", ":"))
