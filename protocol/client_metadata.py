"""Client metadata that has no column: which values the members may have, and which combinations.

Enters: a registration with all its columns filled. Leaves: everything that is wrong with it, in words for the
operator. The members are those of RFC 7591 §2, OpenID Connect Registration §2, Back-Channel Logout §2.2, RFC
9101 §10.5, RFC 9701 §6, and two of our own. A member that is accepted is enforced or shown. A member of a
standard that this server does not support is refused: to accept and ignore it would be a false promise.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Protocol
from urllib.parse import urlsplit

import errors
from crypto.json_values import JsonObject
from crypto.jwt import ASYMMETRIC, SIGNING, SYMMETRIC
from crypto.key_schedule import MAXIMUM_JWT_LIFETIME
from protocol import auth_methods, blocked_urls, client_jwks, redirect_uris, typed_text
from protocol.authentication_request import MAXIMUM_AGE
from protocol.json_rules import Rule, boolean, text_of_at_most

MAXIMUM_TEXT_LENGTH = 500
MAXIMUM_ITEMS = 20
MAXIMUM_SIZE = 32_768  # characters of all members as JSON: they are read with the client, at every request
ASSERTION_ALGORITHMS = {auth_methods.PRIVATE_KEY_JWT: ASYMMETRIC, auth_methods.CLIENT_SECRET_JWT: SYMMETRIC}
IN_LANGUAGES = re.compile(  # with a BCP 47 tag
    r"(?P<name>client_name|client_uri|logo_uri|policy_uri|tos_uri)#[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}"
)


@dataclass(frozen=True)
class RegistrationPolicy:
    """The settings of the server that the rules depend on."""

    is_development: bool
    allow_private_addresses: bool
    access_token_lifetime: timedelta
    redirect_schemes: Collection[str] = ()


class Registration(Protocol):
    """The columns of a client that the rules depend on."""

    @property
    def token_endpoint_auth_method(self) -> str: ...

    @property
    def grant_types(self) -> list[str]: ...

    @property
    def redirect_uris(self) -> list[str]: ...

    @property
    def access_token_lifetime(self) -> int | None: ...

    @property
    def extra_metadata(self) -> JsonObject: ...


# ---- single values -----------------------------------------------------------------------------------------


text = text_of_at_most(MAXIMUM_TEXT_LENGTH)


def texts(value: object) -> str | None:
    """Return what is wrong with a value that must be a short list of texts."""
    if not isinstance(value, list) or len(value) > MAXIMUM_ITEMS:
        return f"must be a list of at most {MAXIMUM_ITEMS} texts"
    return next((f"has an item that {problem}" for problem in map(text, value) if problem), None)


def acr_values(value: object) -> str | None:
    """Return what is wrong with a list of `acr` values, which requests separate by blanks."""
    if problem := texts(value):
        return problem
    return "must hold no blanks" if isinstance(value, list) and any(" " in item for item in value) else None


def age(value: object) -> str | None:
    """Return what is wrong with a value that must be a number of seconds."""
    is_age = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAXIMUM_AGE
    return None if is_age else f"must be a number of seconds, 0 to {MAXIMUM_AGE} (0: sign in each time)"


def web_page(value: object) -> str | None:
    """Return what is wrong with a value that must be the address of a web page, for browsers only."""
    if (
        not isinstance(value, str)
        or len(value) > redirect_uris.MAXIMUM_LENGTH
        or not redirect_uris.WITH_FRAGMENT.fullmatch(value)
    ):
        return "must be an https URL in ASCII, in double quotes"
    try:
        parts = urlsplit(value)
        is_web_page = (
            parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        is_web_page = False
    return None if is_web_page else "must be an https URL with a host and without a user name"


def one_of(*allowed: str, hint: str = "") -> Rule:
    """Return the rule for a value that must be one of some texts."""

    def rule(value: object) -> str | None:
        return (
            None
            if isinstance(value, str) and value in allowed
            else f"must be one of {', '.join(allowed)}{hint}"
        )

    return rule


RULES: dict[str, Rule] = {
    "application_type": one_of("web", "native"),
    "contacts": texts,
    "client_name": text,  # with a language tag; without one it is a column
    "client_uri": web_page,
    "logo_uri": web_page,
    "policy_uri": web_page,
    "tos_uri": web_page,
    "software_id": text,
    "software_version": text,
    "jwks": client_jwks.find_problem,
    "subject_type": one_of("public", "pairwise"),
    "id_token_signed_response_alg": one_of(*SIGNING, hint=": an ID token that is not signed proves nothing"),
    "userinfo_signed_response_alg": one_of(*SIGNING, hint=": leave it out for an answer in plain JSON"),
    "introspection_signed_response_alg": one_of(*SIGNING, hint=": leave it out for an answer in plain JSON"),
    "request_object_signing_alg": one_of(
        *ASYMMETRIC, hint=": a request object must be signed with the client's own key"
    ),
    "require_signed_request_object": boolean,
    "token_endpoint_auth_signing_alg": one_of(*ASYMMETRIC, *SYMMETRIC),
    "default_max_age": age,
    "require_auth_time": boolean,
    "default_acr_values": acr_values,
    "initiate_login_uri": web_page,
    "backchannel_logout_session_required": boolean,
    "access_token_format": one_of("opaque", "jwt"),
    "assertion_audience": one_of("issuer", "token_endpoint"),
}
# addresses that this server itself calls
FETCHED = frozenset({"jwks_uri", "sector_identifier_uri", "backchannel_logout_uri"})
WITH_OWN_OPTION = "post_logout_redirect_uris"

# Members of standards that this server does not support; * stands for any rest of a name.
NOT_SUPPORTED = {
    "*_encrypted_response_alg": "encrypted tokens are not supported",
    "*_encrypted_response_enc": "encrypted tokens are not supported",
    "request_object_encryption_*": "encrypted tokens are not supported",
    "frontchannel_logout_*": "front-channel logout is not supported, browsers break it: use"
    " backchannel_logout_uri",
    "request_uris": "request objects by reference are not supported: send them by value",
    "authorization_signed_response_alg": "signed authorization responses are not supported",
    "tls_client_*": "mutual TLS is not supported",
    "use_mtls_*": "mutual TLS is not supported",
    "dpop_bound_access_tokens": "DPoP is not supported",
    "require_pushed_authorization_requests": "pushed authorization requests are not supported",
    "authorization_details_types": "rich authorization requests are not supported",
    "backchannel_token_delivery_mode": "CIBA is not supported",
    "backchannel_client_notification_endpoint": "CIBA is not supported",
    "backchannel_user_code_parameter": "CIBA is not supported",
    "backchannel_authentication_request_signing_alg": "CIBA is not supported",
    "claims_redirect_uris": "this is not supported",
    "nfv_*": "this is not supported",
    "client_registration_types": "this is not supported",
    "software_statement": "software statements are not supported",
}


def rule_of(name: str) -> Rule | None:
    """Return the rule for a member, which may have a language tag; None where there is none."""
    tagged = IN_LANGUAGES.fullmatch(name)
    return RULES.get(tagged["name"] if tagged else name)


def is_known(name: str) -> bool:
    """Return whether this server knows a member."""
    tagged = IN_LANGUAGES.fullmatch(name)
    return tagged is not None or name in FETCHED or (name in RULES and name != "client_name")


def reason_against(name: str) -> str | None:
    """Return why a member is refused whatever its value; None where it is not."""
    return next((reason for pattern, reason in NOT_SUPPORTED.items() if fnmatchcase(name, pattern)), None)


def find_unknown(names: Mapping[str, object]) -> Iterator[tuple[str, str | None]]:
    """Return members that this server stores and shows but does not use, each with a known one like it.

    The second of a pair is None where no known name is alike.
    """
    for name in names:
        if not is_known(name) and name != WITH_OWN_OPTION:
            alike = difflib.get_close_matches(name, [*RULES, *FETCHED], n=1, cutoff=0.8)
            yield name, next(iter(alike), None)


def normalize(members: Mapping[str, object]) -> JsonObject:
    """Return members as they are stored: text in the form of `protocol/typed_text.py`, the rest unchanged."""
    return {name: normalize_value(rule_of(name), value) for name, value in members.items()}


def normalize_value(rule: Rule | None, value: object) -> object:
    """Return the value of a member as it is stored."""
    if rule is texts and isinstance(value, list) and len(value) <= MAXIMUM_ITEMS:
        return [normalize_value(text, item) for item in value]
    return (
        typed_text.normalize_name(value, MAXIMUM_TEXT_LENGTH)
        if rule is text and isinstance(value, str)
        else value
    )


# ---- a registration as a whole -----------------------------------------------------------------------------


def find_problems(client: Registration, policy: RegistrationPolicy) -> Iterator[str]:
    """Return everything that is wrong, but for the document at `sector_identifier_uri`."""
    members = client.extra_metadata
    if len(json.dumps(members)) > MAXIMUM_SIZE:
        yield f"the members together have more than {MAXIMUM_SIZE} characters"
    problems = {name: problem_of_member(name, value, policy) for name, value in members.items()}
    yield from (f"{name} {problem}" for name, problem in problems.items() if problem)
    valid = {name: value for name, value in members.items() if problems[name] is None}
    yield from problems_of_application_type(client, valid, policy)
    yield from problems_of_keys(client, members, valid)
    yield from problems_of_assertions(client, valid)
    yield from problems_of_subject(client, members, valid, policy)
    yield from problems_of_logout(client, valid)
    yield from problems_of_access_tokens(client, valid, policy)


def problem_of_member(name: str, value: object, policy: RegistrationPolicy) -> str | None:
    """Return what is wrong with one member, in words that follow its name."""
    if reason := reason_against(name):
        return f"cannot be registered: {reason}"
    if name in FETCHED:
        return problem_of_fetched_url(value, policy.allow_private_addresses)
    rule = rule_of(name)
    return rule(value) if rule else None


def problem_of_fetched_url(value: object, allow_private: bool) -> str | None:
    """Return why this server would not call an address.

    A host name is resolved only when the address is called, so its IP addresses are not checked here.
    """
    if not isinstance(value, str):
        return "must be an https URL, in double quotes"
    try:
        target = blocked_urls.read_url(value, allow_private)
        if blocked_urls.read_address(target.host) is not None:
            blocked_urls.check_addresses([target.host], allow_private)
    except errors.BlockedUrlError as error:
        return f"cannot be called: {error}"
    return None


def problems_of_application_type(
    client: Registration, valid: JsonObject, policy: RegistrationPolicy
) -> Iterator[str]:
    """Return redirect URIs that the `application_type` does not allow (OpenID Connect Registration §2).

    A native application may have any (RFC 8252 §7), and so may a client that does not say.
    """
    if valid.get("application_type") != "web":
        return
    # http is for loopback addresses alone
    allowed = ("https", "http") if policy.is_development else ("https",)
    for uri in client.redirect_uris:
        if (
            not redirect_uris.find_problem(uri, policy.redirect_schemes)
            and urlsplit(uri).scheme not in allowed
        ):
            yield f"redirect URI {uri!r} is not for application_type web: it must use https"


def problems_of_keys(client: Registration, members: JsonObject, valid: JsonObject) -> Iterator[str]:
    """Return what is wrong with the client's keys: missing, or unfit for its registered algorithms."""
    if "jwks" in members and "jwks_uri" in members:
        yield "jwks and jwks_uri exclude each other: register one of them (RFC 7591 §2)"
    has_keys = "jwks" in members or "jwks_uri" in members
    if client.token_endpoint_auth_method == auth_methods.PRIVATE_KEY_JWT and not has_keys:
        yield f"auth method {auth_methods.PRIVATE_KEY_JWT} needs jwks or jwks_uri"
    if (valid.get("require_signed_request_object") or "request_object_signing_alg" in valid) and not has_keys:
        yield "signed request objects need jwks or jwks_uri"
    if "jwks" not in valid:
        return
    able = client_jwks.algorithms(valid["jwks"])
    wanted = {"request_object_signing_alg": valid.get("request_object_signing_alg")}
    if client.token_endpoint_auth_method == auth_methods.PRIVATE_KEY_JWT:
        wanted["token_endpoint_auth_signing_alg"] = valid.get("token_endpoint_auth_signing_alg")
    for name, alg in wanted.items():
        if alg is not None and alg not in able:
            yield f"{name} is {alg}, and jwks has no key for it"


def problems_of_assertions(client: Registration, valid: JsonObject) -> Iterator[str]:
    """Return what is wrong with members about client assertions (OpenID Connect Core §9)."""
    algorithms = ASSERTION_ALGORITHMS.get(client.token_endpoint_auth_method)
    for name in ("token_endpoint_auth_signing_alg", "assertion_audience"):
        if algorithms is None and name in valid:
            yield f"{name} is of use with auth methods {' and '.join(ASSERTION_ALGORITHMS)} only"
    alg = valid.get("token_endpoint_auth_signing_alg")
    if algorithms is not None and alg is not None and alg not in algorithms:
        method = client.token_endpoint_auth_method
        yield (
            f"token_endpoint_auth_signing_alg {alg} does not fit auth method {method}: use"
            f" {', '.join(algorithms)}"
        )


def problems_of_subject(
    client: Registration,
    members: JsonObject,
    valid: JsonObject,
    policy: RegistrationPolicy,
) -> Iterator[str]:
    """Return what is wrong with pairwise subjects: they need one host (OpenID Connect Core §8.1)."""
    if valid.get("subject_type") != "pairwise" or "sector_identifier_uri" in members:
        return
    schemes = policy.redirect_schemes
    valid_uris = [uri for uri in client.redirect_uris if not redirect_uris.find_problem(uri, schemes)]
    hosts = {urlsplit(uri).hostname or uri for uri in valid_uris}
    if not client.redirect_uris:
        yield "subject_type pairwise needs a redirect URI or a sector_identifier_uri"
    elif len(hosts) > 1:
        yield "subject_type pairwise needs a sector_identifier_uri where redirect URIs have several hosts"


def problems_of_logout(client: Registration, valid: JsonObject) -> Iterator[str]:
    """Return what is wrong with members about back-channel logout."""
    if "backchannel_logout_uri" in valid and "authorization_code" not in client.grant_types:
        yield "backchannel_logout_uri is of use with grant type authorization_code only"
    if valid.get("backchannel_logout_session_required") and "backchannel_logout_uri" not in valid:
        yield "backchannel_logout_session_required is of use with backchannel_logout_uri only"


def problems_of_access_tokens(
    client: Registration, valid: JsonObject, policy: RegistrationPolicy
) -> Iterator[str]:
    """Return what is wrong with JWT access tokens: a key is published no longer than they may be valid."""
    longest = int(MAXIMUM_JWT_LIFETIME.total_seconds())
    lifetime = client.access_token_lifetime or int(policy.access_token_lifetime.total_seconds())
    if valid.get("access_token_format") == "jwt" and lifetime > longest:
        yield f"access_token_format jwt needs an access token lifetime of at most {longest} seconds"


# ---- the document of a sector ------------------------------------------------------------------------------


def problem_of_sector(document: object, uris: list[str]) -> str | None:
    """Return what is wrong with the document at `sector_identifier_uri`.

    It must name every redirect URI of the client (OpenID Connect Registration §5).
    """
    if not isinstance(document, list) or not all(isinstance(item, str) for item in document):
        return "sector_identifier_uri: its document is no JSON list of URIs"
    missing = [uri for uri in uris if uri not in document]
    return f"sector_identifier_uri: its document lacks {', '.join(map(repr, missing))}" if missing else None
