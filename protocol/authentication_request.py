"""What an authorization request asks of the sign-in (OpenID Connect Core §3.1.2.1), read and checked before anybody is asked.

Enters: the parameters of the request and the client's registered defaults. Leaves: one `AuthenticationRequest`, or an error with
its registered code. What has to happen next, given who is signed in, is decided in `endpoints/authorize.py`.
"""

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error

from protocol import claims

PROMPTS = ("none", "login", "consent", "select_account", "create")
DISPLAYS = ("page", "popup", "touch", "wap")
RESPONSE_MODES = ("query", "form_post")
MAXIMUM_AGE = 2**31 - 1


class UnmetAuthenticationRequirementsError(OAuth2Error):
    """OpenID Connect Core Error Code unmet_authentication_requirements 1.0."""

    error = "unmet_authentication_requirements"
    description = "the person cannot be signed in the way that the request insists on"


@dataclass(frozen=True)
class AuthenticationRequest:
    prompt: frozenset[str]
    max_age: int | None  # seconds; 0 asks for a sign-in now (§3.1.2.1)
    acr_values: tuple[str, ...]
    claims: dict[str, Any]  # as `claims.parse_parameter` gives them
    login_hint: str | None
    id_token_hint: str | None
    response_mode: str
    nonce: str | None

    @property
    def may_ask(self) -> bool:
        return "none" not in self.prompt

    def is_old(self, auth_time: int, now: int) -> bool:
        """Whether a sign-in is older than `max_age` allows. One of this very second is older than 0 seconds too."""
        return self.max_age is not None and (self.max_age == 0 or now - auth_time > self.max_age)

    def unmet(self, sub: str, acr: str) -> bool:
        """Whether an essential `acr` or a `sub` that the client named is another one than it would get (§5.5.1)."""
        for member in ("id_token", "userinfo"):
            wishes = self.claims.get(member, {})
            acrs = claims.wanted_values(wishes.get("acr"))
            if claims.is_essential(wishes.get("acr")) and acrs and acr not in acrs:
                return True
            subs = claims.wanted_values(wishes.get("sub"))
            if subs and sub not in subs:
                return True
        return False

    def subs(self) -> list[str]:
        """The subjects that the client named by the `claims` parameter."""
        return [
            sub
            for member in ("id_token", "userinfo")
            for sub in claims.wanted_values(self.claims.get(member, {}).get("sub"))
            if isinstance(sub, str)
        ]


def parse(parameters: dict[str, str], client: Any) -> AuthenticationRequest:
    """client: its registered `default_max_age` and `default_acr_values` stand in for what the request leaves out.

    Raises InvalidRequestError.
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
    acr_values = parameters.get("acr_values", "").split() or client.member("default_acr_values", [])
    return AuthenticationRequest(
        prompt=prompt,
        max_age=parse_max_age(parameters.get("max_age"), client.member("default_max_age")),
        acr_values=tuple(acr_values),
        claims=wanted,
        login_hint=parameters.get("login_hint"),
        id_token_hint=parameters.get("id_token_hint"),
        response_mode=response_mode,
        nonce=parameters.get("nonce"),
    )


def parse_max_age(text: str | None, default: int | None) -> int | None:
    if text is None:
        return default
    if not text.isdecimal() or not text.isascii() or int(text[:12]) > MAXIMUM_AGE:
        raise InvalidRequestError("max_age must be a number of seconds")
    return int(text)
