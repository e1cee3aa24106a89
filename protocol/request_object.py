"""Signed request objects, by value (RFC 9101, OpenID Connect Core §6.1).

Enters: the parameters of a request, which may have `request` among them. Leaves: the parameters to go on
with: those that the client signed. They are checked afterwards like any others. A parameter outside of the
object must be in it with the same value (RFC 9101 §6.3): ignored, it could be what the client meant; used, it
could be an attacker's.
"""

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc9101.errors import InvalidRequestObjectError, RequestUriNotSupportedError
from joserfc.jwk import Key

from crypto import jwt
from crypto.json_values import JsonObject
from errors import InvalidJwtError
from protocol import scopes
from protocol.parameters import AUTHORIZATION, HINTS, check_parameters, is_well_formed, select_known
from protocol.registered_client import RegisteredClient

TYP = frozenset({None, "jwt", "oauth-authz-req+jwt"})
MAXIMUM_LIFETIME = 3600  # seconds
CLOCK_SKEW = 60
OUTSIDE_ONLY = frozenset({"client_id", "request"})  # they need not be in the object
RESPONSE_PARAMETERS = ("redirect_uri", "state", "response_mode")  # how the client gets the response
# OpenID Connect Core §6.1: they are needed outside too, so that the request is one of OAuth 2.0.
NEEDED_OUTSIDE = ("response_type", "scope")

AnyClient = TypeVar("AnyClient", bound=RegisteredClient)
FindKeys = Callable[[AnyClient, str], Iterable[tuple[str | None, Key]]]


def unpack(
    parameters: dict[str, str], client: AnyClient, find_keys: FindKeys[AnyClient], issuer: str, now: int
) -> dict[str, str]:
    """Return the parameters of the request object where there is one, else the given ones.

    find_keys: from a client and a token to the client's public keys; called only for a request object. Raises
    OAuth2Error, with the redirect URI of the request where it is registered.
    """
    try:
        return signed_parameters(parameters, client, find_keys, issuer, now)
    except OAuth2Error as error:
        set_redirect(error, parameters, client)
        raise


def set_redirect(error: OAuth2Error, parameters: dict[str, str], client: RegisteredClient) -> None:
    """Set the redirect URI and `state` of an error, where the request's redirect URI is registered."""
    parameters = with_response_parameters(parameters)
    redirect_uri = parameters.get("redirect_uri", client.get_default_redirect_uri())
    if redirect_uri and client.check_redirect_uri(redirect_uri):
        error.redirect_uri, error.state = redirect_uri, parameters.get("state")


def with_response_parameters(parameters: dict[str, str]) -> dict[str, str]:
    """Return the parameters with those of the request object that say how the client gets an error.

    The object's signature is not verified for this: in a plain request these parameters are not signed
    either. Without its `state` a client cannot tell which of its requests was refused. A redirect URI outside
    of the object wins.
    """
    try:
        claims = jwt.read_unverified(parameters.get("request", ""))
    except InvalidJwtError:
        return parameters
    inside = {name: claims[name] for name in RESPONSE_PARAMETERS if claims.get(name) not in (None, "")}
    usable = {
        name: value
        for name, value in inside.items()
        if isinstance(value, str) and is_well_formed(name, value)
    }
    if "redirect_uri" in parameters:
        usable["redirect_uri"] = parameters["redirect_uri"]
    elif "redirect_uri" in inside:
        usable.setdefault("redirect_uri", "")  # not the registered one: the client meant another
    return parameters | usable


def signed_parameters(
    parameters: dict[str, str], client: AnyClient, find_keys: FindKeys[AnyClient], issuer: str, now: int
) -> dict[str, str]:
    """Return the parameters that the client signed; the given ones where it need not sign and did not.

    Raises OAuth2Error.
    """
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
        # checked before the signature, so that no keys are fetched for an object that would be refused
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
    """Raise InvalidJwtError unless the object is of this client, for this server, and valid now."""
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
    """Raise InvalidJwtError unless the object is valid now, and for a short time only.

    `exp` may be missing (OpenID Connect Core §6.1). Then the object expires an hour after `nbf` or `iat`,
    where it has one of these.
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
    """Return the parameters of the object as a form would have them, without unknown and empty ones."""
    given = {name: as_text(name, value) for name, value in claims.items() if name in AUTHORIZATION | HINTS}
    return select_known(given.items())


def as_text(name: str, value: object) -> str:
    """Return a parameter's value as text: `max_age` is a number, and `claims` an object (§6.1).

    Raises InvalidRequestObjectError for any other value that is no text.
    """
    if isinstance(value, str):
        return value
    if name == "max_age" and type(value) is int:
        return str(value)
    if name == "claims" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raise InvalidRequestObjectError(f"{name} is of a JSON type that it cannot have")


def check_outside(outside: dict[str, str], inside: dict[str, str]) -> None:
    """Raise InvalidRequestError where a parameter outside of the object differs from the one in it."""
    for name in outside.keys() - OUTSIDE_ONLY:
        if name == "scope" and scopes.is_within(outside[name], inside.get(name, outside[name])):
            continue  # outside, `openid` is enough (OpenID Connect Core §6.1)
        if name in NEEDED_OUTSIDE and name not in inside:
            continue
        if outside[name] != inside.get(name):
            raise InvalidRequestError(f"{name} is not as the request object has it")
