"""The English sentences for what services refuse, with the commands and options that mend it."""

from collections.abc import Iterable, Iterator, Mapping

from commands.formatting import iso
from errors import Problem
from services.problems import Code

OFF = (
    "tenants are off: this server has its own issuer and no other. Set OSTIARY_TENANTS=on on every node, and"
    " where commands run"
)
LIMITS = "1 to {maximum} letters, digits, dots, dashes, underscores, tildes"
TEXTS: Mapping[str, str] = {
    # a client's registration
    Code.UNKNOWN_CLIENT: "there is no client {client_id!r}",
    Code.INVALID_CLIENT_ID: "{client_id!r} cannot be a client_id: use " + LIMITS,
    Code.INVALID_CLIENT_NAME: "the name {reason}",
    Code.UNKNOWN_AUTH_METHOD: "unknown auth method {method!r}: use one of {supported}",
    Code.UNKNOWN_GRANT_TYPE: "unknown grant type {grant_type!r}: use {supported}",
    Code.CODE_WITHOUT_REDIRECT_URI: "grant type authorization_code needs a redirect URI",
    Code.REDIRECT_URI_WITHOUT_CODE: "redirect URIs are of use with grant type authorization_code only",
    Code.REFRESH_WITHOUT_CODE: "grant type refresh_token needs authorization_code",
    Code.INVALID_REDIRECT_URI: "redirect URI {uri!r} {reason}",
    Code.RESOURCE_SERVER_WITH_REDIRECT_URI: "a resource server has no redirect URIs",
    Code.RESOURCE_SERVER_WITH_GRANT_TYPE: "a resource server has no grant types",
    Code.RESOURCE_SERVER_IS_PUBLIC: "a resource server must authenticate: auth method none will not do",
    Code.PUBLIC_WITH_CLIENT_CREDENTIALS: (
        "a public client cannot use grant type client_credentials (RFC 6749 §4.4)"
    ),
    Code.PUBLIC_WITHOUT_PKCE: "--no-pkce is not for public clients",
    Code.PUBLIC_WITHOUT_ROTATION: "--no-rotation is not for public clients",
    Code.PUBLIC_WITH_REFRESH_RETRY: (
        "--refresh-retry-lifetime is not for public clients, where nothing proves who asks: use"
        " --refresh-leeway"
    ),
    Code.INVALID_CLIENT_METADATA: "{text}",
    # a client's secret
    Code.PUBLIC_WITH_SECRET: "a public client has no secret",
    Code.OWN_KEYS_WITH_SECRET: "a client that signs with its own keys has no secret",
    Code.INVALID_SECRET: "the client_secret must be 1 to {maximum} visible ASCII characters",
    Code.SIGNING_SECRET_TOO_SHORT: (
        "the client_secret is a signing key here: it must have at least {minimum} characters (RFC 7518 §3.2)"
    ),
    Code.ALG_NEEDS_LONGER_SECRET: (
        "token_endpoint_auth_signing_alg {alg} needs a secret of at least {minimum} octets (RFC 7518 §3.2),"
        " and this client has one of {length}: make a new one first, with"
        " `flask clients rotate-secret {client_id}`"
    ),
    Code.PUBLIC_HAS_NO_SECRET: "{client_id} is a public client: it has no secret",
    Code.OWN_KEYS_HAVE_NO_SECRET: (
        "{client_id} has no secret: it signs with its own keys, which it renews itself"
    ),
    Code.TWO_SECRETS_ALREADY: (
        "{client_id} has two secrets already, the older until {ends_at}: end it first, with --now"
    ),
    Code.NO_OLDER_SECRET: (
        "{client_id} has one secret, and no older one to end: `flask clients rotate-secret {client_id}`"
        " alone replaces it at once"
    ),
    # warnings about a registration
    Code.WITHOUT_PKCE: (
        "without PKCE a stolen code can be used; this client must check state or nonce (RFC 9700 §2.1.1)."
    ),
    Code.WITHOUT_USE: (
        "this client can do nothing yet. Give it a redirect URI, a grant type, or make it a resource server."
    ),
    Code.AUDIENCE_INJECTION: (
        "an assertion that is good for the token endpoint's URL can be got from this client by another"
        " server that claims that URL for itself. Use it only where the client cannot send the issuer"
        " (draft-ietf-oauth-rfc7523bis)."
    ),
    Code.LONG_LIVED_JWT: (
        "a JWT access token cannot be called back before it expires: an hour is long (RFC 9700 §2.2)."
    ),
    Code.LONG_PUBLIC_LEEWAY: (
        "for so long a thief who refreshes first stays unseen, because nothing proves who asks for a public"
        " client (RFC 9700 §4.14.2)."
    ),
    Code.UNUSED_MEMBER: "{member} means nothing to this server: it is kept and shown, no more.",
    Code.MISSPELT_MEMBER: (
        "{member} means nothing to this server: it is kept and shown, no more. Was {similar} meant?"
    ),
    Code.SUBJECTS_CHANGE: (
        "from now on this client knows its people by another sub: to it they are other people."
    ),
    # a scope
    Code.INVALID_SCOPE: "{scope!r} cannot be a scope (RFC 6749 §3.3)",
    Code.UNKNOWN_SCOPE: "there is no scope {scope!r}: add it with `flask scopes add`",
    Code.INVALID_SCOPE_NAME: (
        "{scope!r} cannot be a scope: use 1 to 128 ASCII characters without blanks, quotes, backslashes"
    ),
    Code.INVALID_SCOPE_DESCRIPTION: "the description {reason}",
    Code.NO_SUCH_SCOPE: "there is no scope {scope!r}",
    Code.SCOPE_EXISTS: "the scope {scope} exists already",
    Code.SCOPE_IN_USE: (
        "clients are registered for {scope}: {client_ids}. Take it from them with `flask clients set` first"
    ),
    Code.RESERVED_SCOPE: "the scope {scope} exists already, and its words are fixed",
    # a user
    Code.UNKNOWN_USER: "nobody has the address {email!r}",
    Code.INVALID_EMAIL: "{email!r} is not an email address",
    Code.EMAIL_TAKEN: "there is somebody with the address {email} already",
    Code.NAME_LENGTH: "the name {reason}",
    Code.NAME_CHARACTERS: "the name {reason}",
    Code.INVALID_CLAIM: "{text}",
    Code.INVALID_SUB: "{sub!r} cannot be a sub: use " + LIMITS,
    Code.SUB_NEVER_CHANGES: "{email} has another sub already, and a sub never changes",
    # a password
    Code.PASSWORD_TOO_SHORT: "the password will not do: Use at least {minimum} characters.",
    Code.PASSWORD_TOO_LONG: "the password will not do: Use at most {maximum:,} characters.",
    Code.PASSWORD_CHARACTERS: (
        "the password will not do: Leave out control characters, and those that turn the direction of"
        " writing."
    ),
    # a signing key
    Code.UNKNOWN_SIGNING_KEY: "there is no signing key {kid!r}",
    Code.KEY_SIGNS_NOW: "it is the one that signs {alg} now",
    Code.KEY_HAS_LIVE_TOKENS: "what it signed may be alive until {expires_at}",
    Code.KEY_PRESENTED_LATELY: (
        "something that it signed was shown to this server at {presented_at}: resource servers still ask for"
        " it"
    ),
    # a tenant
    Code.TENANTS_ARE_OFF: OFF,
    Code.UNKNOWN_TENANT: "there is no tenant {name!r}",
    Code.INVALID_TENANT_NAME: "{name!r} cannot be a tenant's name: use 1 to {maximum} of a-z, 0-9 and -",
    Code.TENANT_EXISTS: "there is a tenant {name!r} already",
    Code.INVALID_ISSUER: "the issuer {reason}",
    Code.ISSUER_TAKEN: (
        "{issuer} is at the host of another issuer: an issuer of a tenant's own has a host of its own"
    ),
    Code.INVALID_TENANT_SETTING: "{text}",
    Code.HOME_STAYS: (
        "home is this server's own issuer: its settings are those of the environment, and it is not disabled"
        " or removed"
    ),
    # a seed
    Code.REPEATED: "is that of {other} too",
}


def problem_text(problem: Problem) -> str:
    """Return the sentence for one problem, after the place in the input that it is about."""
    values = {name: value_text(name, value) for name, value in problem.values.items()}
    text = TEXTS[problem.code].format(**values)
    return f"{problem.path}: {text}" if problem.path else text


def value_text(name: str, value: object) -> object:
    """Return a value as it stands in a sentence: lists with commas, instants as dates."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return iso(value) if name.endswith("_at") and isinstance(value, int) else value


def problem_texts(problems: Iterable[Problem]) -> list[str]:
    """Return the sentences for all of them."""
    return [problem_text(problem) for problem in problems]


def warning_texts(warnings: Iterable[Problem]) -> Iterator[str]:
    """Return a line for each warning."""
    return (f"Warning: {problem_text(warning)}" for warning in warnings)
