"""Signed request objects, by value (RFC 9101, OpenID Connect Core §6.1): nobody could change the request on
its way.

Enters: the parameters of a request that may have `request` among them. Leaves: the parameters to go on with,
which are those that the client signed; they are checked afterwards like any others. What is said outside must
be said inside in the same words: ignored, it could be what the client meant, and used, what an attacker did
(RFC 9101 §6.3).
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc9101.errors import InvalidRequestObjectError, RequestUriNotSupportedError
from joserfc.jwk import Key

from crypto import jwt
from crypto.json_values import JsonObject
from errors import InvalidJwtError
from protocol import scopes
from protocol.parameters import AUTHORIZATION, HINTS, check_parameters, is_well_formed, known

TYP = frozenset({None, "jwt", "oauth-authz-req+jwt"})
MAXIMUM_LIFETIME = 3600  # seconds
CLOCK_SKEW = 60
OF_THE_ENVELOPE = frozenset({"client_id", "request"})
OF_THE_ANSWER = ("redirect_uri", "state", "response_mode")
NEEDED_OUTSIDE = ("response_type", "scope")  # so that it is an OAuth request still (OpenID Connect Core §6.1)


class Client(Protocol):
    client_id: str

    def member(self, name: str, default: Any = None) -> Any: ...

    def check_redirect_uri(self, redirect_uri: str) -> bool: ...

    def get_default_redirect_uri(self) -> str | None: ...


FindKeys = Callable[[Any, str], Iterable[tuple[str | None, Key]]]


def unpack(
    parameters: dict[str, str], client: Client, find_keys: FindKeys, issuer: str, now: int
) -> dict[str, str]:
    """The parameters that count: those of the request object where there is one, else these.

    find_keys: from a client and a token to the client's public keys; asked only when there is a request
    object. Raises OAuth2Error, with the redirect URI to send it to where the request names one that is
    registered.
    """
    try:
        return signed_parameters(parameters, client, find_keys, issuer, now)
    except OAuth2Error as error:
        address_error(error, parameters, client)
        raise


def address_error(error: OAuth2Error, parameters: dict[str, str], client: Client) -> None:
    """Give a refusal of this client's request its redirect URI and `state`, where the request names one that
    is registered.
    """
    parameters = for_the_answer(parameters)
    redirect_uri = parameters.get("redirect_uri", client.get_default_redirect_uri())
    if redirect_uri and client.check_redirect_uri(redirect_uri):
        error.redirect_uri, error.state = redirect_uri, parameters.get("state")


def for_the_answer(parameters: dict[str, str]) -> dict[str, str]:
    """The parameters of a request that is refused, with what its request object says of the answer, verified
    or not.

    It only says how the client hears of the error, and in a plain request nobody signed that either. Without
    its state no client takes an answer for one to its own request. A redirect URI that is said outside
    counts.
    """
    try:
        claims = jwt.read_unverified(parameters.get("request", ""))
    except InvalidJwtError:
        return parameters
    inside = {name: claims[name] for name in OF_THE_ANSWER if claims.get(name) not in (None, "")}
    usable = {
        name: value
        for name, value in inside.items()
        if isinstance(value, str) and is_well_formed(name, value)
    }
    if "redirect_uri" in parameters:
        usable["redirect_uri"] = parameters["redirect_uri"]
    elif "redirect_uri" in inside:
        usable.setdefault("redirect_uri", "")  # not the default: the client meant another one
    return parameters | usable


def signed_parameters(
    parameters: dict[str, str], client: Client, find_keys: FindKeys, issuer: str, now: int
) -> dict[str, str]:
    if "request_uri" in parameters:
        raise RequestUriNotSupportedError("request objects are taken by value only")
    if "request" not in parameters:
        if client.member("require_signed_request_object"):
            raise InvalidRequestError("this client has to sign its requests")
        return parameters
    text = parameters["request"]
    registered = client.member("request_object_signing_alg")
    algorithms = [alg for alg in jwt.ASYMMETRIC if registered in (None, alg)]
    try:
        # no key is fetched for nothing
        check_claims(jwt.read_unverified(text), client.client_id, issuer, now)
        claims = jwt.decode(text, find_keys(client, text), algorithms, TYP)
    except InvalidJwtError as error:
        raise InvalidRequestObjectError(f"the request object is refused: {error}") from None
    inside = parameters_of(claims)
    check_parameters(inside.items())
    check_outside(parameters, inside)
    # A client that always signs has signed its scope too.
    needed = ("response_type",) if client.member("require_signed_request_object") else NEEDED_OUTSIDE
    outside = {name: parameters[name] for name in needed if name in parameters}
    return outside | inside | {"client_id": client.client_id}


def check_claims(claims: JsonObject, client_id: str, issuer: str, now: int) -> None:
    """What is said of the object itself. Raises InvalidJwtError."""
    if claims.get("iss", client_id) != client_id:
        raise InvalidJwtError("the iss is not the client_id")
    if claims.get("client_id", client_id) != client_id:
        raise InvalidJwtError("it is another client's")
    if claims.get("sub") == client_id:
        raise InvalidJwtError("a sub that is the client_id makes it a client assertion")  # RFC 9101 §10.8
    audience = claims.get("aud")
    if issuer not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidJwtError("the aud is not this server")
    if claims.keys() & {"request", "request_uri"}:
        raise InvalidJwtError("it holds another one")
    check_times(claims, now)


def check_times(claims: JsonObject, now: int) -> None:
    """`exp` may be missing (OpenID Connect Core §6.1); then its life ends an hour after `nbf` or `iat`, where
    one is given.
    """
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if not all(jwt.is_numeric_date(time) for time in times.values()):
        raise InvalidJwtError("it has a time that is no number")
    if times.get("exp", now + 1) <= now:
        raise InvalidJwtError("it has expired")
    if max(times.get("nbf", now), times.get("iat", now)) > now + CLOCK_SKEW:
        raise InvalidJwtError("it is not good yet")
    if times.get("exp", now) - times.get("nbf", times.get("iat", now)) > MAXIMUM_LIFETIME:
        raise InvalidJwtError("it is too old, or lives for too long")


def parameters_of(claims: JsonObject) -> dict[str, str]:
    """What it asks for, as a form would have it.

    Unrecognized parameters, and those without a value, count as left out.
    """
    given = {name: as_text(name, value) for name, value in claims.items() if name in AUTHORIZATION | HINTS}
    return known(given.items())


def as_text(name: str, value: Any) -> str:
    """Text as it is; `max_age` is a number there, and `claims` an object (OpenID Connect Core §6.1)."""
    if isinstance(value, str):
        return value
    if name == "max_age" and type(value) is int:
        return str(value)
    if name == "claims" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise InvalidRequestObjectError(f"{name} is of a JSON type that it cannot have")


def check_outside(outside: dict[str, str], inside: dict[str, str]) -> None:
    """Raises InvalidRequestError where something is said outside that was not signed."""
    for name in outside.keys() - OF_THE_ENVELOPE:
        if name == "scope" and scopes.is_within(outside[name], inside.get(name, outside[name])):
            continue  # there `openid` will do (OpenID Connect Core §6.1)
        if name in NEEDED_OUTSIDE and name not in inside:
            continue
        if outside[name] != inside.get(name):
            raise InvalidRequestError(f"{name} is not as the request object has it")
