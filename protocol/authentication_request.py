"""What an authorization request asks of the sign-in (OpenID Connect Core §3.1.2.1).

Enters: the parameters of the request, and the client's registration, which has values for what they leave
out. Leaves: one `AuthenticationRequest`, or an error with its registered code. `authorization/interaction.py`
decides which page comes next. Sections without another name are those of OpenID Connect Core.
"""

from collections.abc import Collection
from dataclasses import dataclass

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, OAuth2Error

from crypto.json_values import JsonObject
from protocol import claims
from protocol.registered_client import RegisteredClient

PROMPTS = ("none", "login", "consent", "select_account", "create")
DISPLAYS = ("page", "popup", "touch", "wap")
RESPONSE_MODES = ("query", "form_post")
MAXIMUM_AGE = 2**31 - 1
# A parameter of our own in requests that are kept: the sector of the client when the request came.
SECTOR = "sector"


class UnmetAuthenticationRequirementsError(OAuth2Error):
    """OpenID Connect Core Error Code unmet_authentication_requirements 1.0."""

    error = "unmet_authentication_requirements"
    description = "the user cannot be signed in the way that the request insists on"


@dataclass(frozen=True)
class AuthenticationRequest:
    """The parameters of an authorization request that are about the sign-in."""

    prompt: frozenset[str]
    max_age: int | None  # seconds; 0 asks for a sign-in now (§3.1.2.1)
    acr_values: tuple[str, ...]
    claims: JsonObject  # the claims request, as `claims.parse_parameter` returns it
    login_hint: str | None
    id_token_hint: str | None
    response_mode: str
    nonce: str | None

    @property
    def may_ask(self) -> bool:
        """Return whether a page may be shown to the user (§3.1.2.1, prompt)."""
        return "none" not in self.prompt

    def is_old(self, auth_time: int, now: int) -> bool:
        """Return whether a sign-in is older than `max_age` allows. For 0 every sign-in is too old."""
        return self.max_age is not None and (self.max_age == 0 or now - auth_time > self.max_age)

    def is_acr_unmet(self, supported: Collection[str]) -> bool:
        """Return whether an essential `acr` names none of the values that this server has (§5.5.1.1)."""
        for member in claims.REQUEST_MEMBERS:
            individual = self.claims.get(member, {}).get("acr")
            acrs = claims.wanted_values(individual)
            if claims.is_essential(individual) and acrs and not any(acr in supported for acr in acrs):
                return True
        return False

    def subs(self) -> list[str] | None:
        """Return the `sub` values that both members of the claims request allow; None for any user."""
        named: list[str] | None = None
        for member in claims.REQUEST_MEMBERS:
            wanted = claims.wanted_values(self.claims.get(member, {}).get("sub"))
            if wanted:
                named = [sub for sub in wanted if isinstance(sub, str) and (named is None or sub in named)]
        return named


def with_defaults(parameters: dict[str, str], client: RegisteredClient) -> dict[str, str]:
    """Return the request's parameters, completed by the registration and limited to what it allows.

    This is done once, before a page is shown, so that the user allows what the page says. If the registration
    changes before the answer, `check_still_registered` refuses what it no longer allows; what it allows now
    needs another request.
    """
    decided = {"scope": client.scope, SECTOR: claims.sector(client)}
    if (redirect_uri := client.get_default_redirect_uri()) is not None:
        decided["redirect_uri"] = redirect_uri
    if (max_age := client.member("default_max_age")) is not None:
        decided["max_age"] = str(max_age)
    if acr_values := client.member("default_acr_values"):
        decided["acr_values"] = " ".join(acr_values)
    decided |= parameters
    if "claims" in decided:
        decided["claims"] = without_unregistered_claims(decided["claims"], client)
    return decided


def without_unregistered_claims(text: str, client: RegisteredClient) -> str:
    """Return a `claims` parameter without claims of scopes that the client is not registered for."""
    try:
        claims_request = claims.parse_parameter(text)
    except InvalidRequestError:
        return text  # `parse` refuses it
    allowed = claims.drop_unregistered(claims_request, client)
    return text if allowed == claims_request else claims.serialize(allowed)


def check_still_registered(
    parameters: dict[str, str], authentication: AuthenticationRequest, client: RegisteredClient
) -> None:
    """Raise OAuth2Error where the registration no longer allows what a kept request asks for."""
    if claims.unregistered_scopes(authentication.claims, client):
        raise InvalidScopeError("the client is no longer registered for a claim that was asked for")
    if parameters.get(SECTOR, claims.sector(client)) != claims.sector(client):
        raise InvalidRequestError("the client is registered for other subject identifiers by now")


def parse(parameters: dict[str, str]) -> AuthenticationRequest:
    """Return what the parameters ask of the sign-in. Raises InvalidRequestError.

    `with_defaults` has completed the parameters before.
    """
    prompt = frozenset(parameters.get("prompt", "").split())
    if not prompt <= set(PROMPTS):
        raise InvalidRequestError("prompt has a value that is not known here")
    if "none" in prompt and len(prompt) > 1:
        raise InvalidRequestError("prompt none must stand alone")
    if parameters.get("display", "page") not in DISPLAYS:
        raise InvalidRequestError("display has a value that is not known here")
    response_mode = parameters.get("response_mode", "query")
    if response_mode not in RESPONSE_MODES:
        raise InvalidRequestError("response_mode must be query or form_post")
    wanted = claims.parse_parameter(parameters["claims"]) if "claims" in parameters else {}
    return AuthenticationRequest(
        prompt=prompt,
        max_age=parse_max_age(parameters.get("max_age")),
        acr_values=tuple(parameters.get("acr_values", "").split()),
        claims=wanted,
        login_hint=parameters.get("login_hint"),
        id_token_hint=parameters.get("id_token_hint"),
        response_mode=response_mode,
        nonce=parameters.get("nonce"),
    )


def parse_max_age(text: str | None) -> int | None:
    """Return the seconds of a `max_age`, or None. Raises InvalidRequestError."""
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or int(text[:12]) > MAXIMUM_AGE:
        raise InvalidRequestError("max_age must be a number of seconds")
    return int(text)
