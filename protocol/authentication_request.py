"""What an authorization request asks of the sign-in (OpenID Connect Core §3.1.2.1), read and checked before
anybody is asked.

Enters: the parameters of the request and the client's registration, which decides what they leave out.
Leaves: one `AuthenticationRequest`, or an error with its registered code. What has to happen next, given who
is signed in, is decided in `authorization/interaction.py`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, OAuth2Error

from crypto.json_values import JsonObject
from protocol import claims

PROMPTS = ("none", "login", "consent", "select_account", "create")
DISPLAYS = ("page", "popup", "touch", "wap")
RESPONSE_MODES = ("query", "form_post")
MAXIMUM_AGE = 2**31 - 1
# of our own, beside the parameters of a request that is kept: by whose `sub` the client knows people
SECTOR = "sector"


class UnmetAuthenticationRequirementsError(OAuth2Error):
    """OpenID Connect Core Error Code unmet_authentication_requirements 1.0."""

    error = "unmet_authentication_requirements"
    description = "the person cannot be signed in the way that the request insists on"


@dataclass(frozen=True)
class AuthenticationRequest:
    prompt: frozenset[str]
    max_age: int | None  # seconds; 0 asks for a sign-in now (§3.1.2.1)
    acr_values: tuple[str, ...]
    claims: JsonObject  # as `claims.parse_parameter` gives them
    login_hint: str | None
    id_token_hint: str | None
    response_mode: str
    nonce: str | None

    @property
    def may_ask(self) -> bool:
        return "none" not in self.prompt

    def is_old(self, auth_time: int, now: int) -> bool:
        """Whether a sign-in is older than `max_age` allows.

        One of this very second is older than 0 seconds too.
        """
        return self.max_age is not None and (self.max_age == 0 or now - auth_time > self.max_age)

    def is_acr_unmet(self, supported: Collection[str]) -> bool:
        """Whether an essential `acr` is asked for in none of the values that there are (§5.5.1.1)."""
        for member in ("id_token", "userinfo"):
            wish = self.claims.get(member, {}).get("acr")
            acrs = claims.wanted_values(wish)
            if claims.is_essential(wish) and acrs and not any(acr in supported for acr in acrs):
                return True
        return False

    def subs(self) -> list[str] | None:
        """The subjects that the client named by the `claims` parameter, those of both members; None where
        anybody will do.
        """
        named: list[str] | None = None
        for member in ("id_token", "userinfo"):
            wanted = claims.wanted_values(self.claims.get(member, {}).get("sub"))
            if wanted:
                named = [sub for sub in wanted if isinstance(sub, str) and (named is None or sub in named)]
        return named


def with_defaults(parameters: dict[str, str], client: Any) -> dict[str, str]:
    """The request with all that it leaves to the client's registration, and without what that does not let it
    ask for.

    Decided once, before anything is kept or shown: what is shown is what is granted, whatever becomes of the
    registration meanwhile. What the client has lost by then is refused, what it has won needs another
    request.
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


def without_unregistered_claims(text: str, client: Any) -> str:
    """A claim by itself is no way around the scopes that a client is registered for."""
    try:
        wishes = claims.parse_parameter(text)
    except InvalidRequestError:
        return text  # `parse` refuses it
    allowed = claims.wishes_of_registration(wishes, client)
    return text if allowed == wishes else claims.as_text(allowed)


def check_still_registered(parameters: dict[str, str], asked: AuthenticationRequest, client: Any) -> None:
    """For a request that was kept: raises OAuth2Error where the registration no longer lets the client have
    what was decided.
    """
    if claims.unregistered_scopes(asked.claims, client):
        raise InvalidScopeError("the client is no longer registered for a claim that was asked for")
    if parameters.get(SECTOR, claims.sector(client)) != claims.sector(client):
        raise InvalidRequestError("the client is registered for other subject identifiers by now")


def parse(parameters: dict[str, str]) -> AuthenticationRequest:
    """Raises InvalidRequestError.

    What a registration has for the request to leave out was filled in before.
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
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or int(text[:12]) > MAXIMUM_AGE:
        raise InvalidRequestError("max_age must be a number of seconds")
    return int(text)
