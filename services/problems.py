"""Why a service refuses a change, as codes with values; the sentences belong to whoever shows them.

`commands/problem_texts.py` has them in English for operators, `pages/problem_texts.py` for the fields of
forms. A value named `reason` or `text` comes from `protocol/`, whose words about members of a registration
and about claims are fixed, like those of the RFCs.
"""

from collections.abc import Iterable
from enum import StrEnum

from errors import InvalidInputError, Problem


class Code(StrEnum):
    """Name each rule that a change can break, and each warning that may come with one."""

    # a client's registration
    UNKNOWN_CLIENT = "unknown_client"  # client_id
    INVALID_CLIENT_ID = "invalid_client_id"  # client_id, maximum
    INVALID_CLIENT_NAME = "invalid_client_name"  # reason
    UNKNOWN_AUTH_METHOD = "unknown_auth_method"  # method, supported
    UNKNOWN_GRANT_TYPE = "unknown_grant_type"  # grant_type, supported
    CODE_WITHOUT_REDIRECT_URI = "code_without_redirect_uri"
    REDIRECT_URI_WITHOUT_CODE = "redirect_uri_without_code"
    REFRESH_WITHOUT_CODE = "refresh_without_code"
    INVALID_REDIRECT_URI = "invalid_redirect_uri"  # uri, reason
    RESOURCE_SERVER_WITH_REDIRECT_URI = "resource_server_with_redirect_uri"
    RESOURCE_SERVER_WITH_GRANT_TYPE = "resource_server_with_grant_type"
    RESOURCE_SERVER_IS_PUBLIC = "resource_server_is_public"
    PUBLIC_WITH_CLIENT_CREDENTIALS = "public_with_client_credentials"
    PUBLIC_WITHOUT_PKCE = "public_without_pkce"
    PUBLIC_WITHOUT_ROTATION = "public_without_rotation"
    PUBLIC_WITH_REFRESH_RETRY = "public_with_refresh_retry"
    INVALID_CLIENT_METADATA = "invalid_client_metadata"  # text
    # a client's secret
    PUBLIC_WITH_SECRET = "public_with_secret"  # noqa: S105 - a code
    OWN_KEYS_WITH_SECRET = "own_keys_with_secret"  # noqa: S105
    INVALID_SECRET = "invalid_secret"  # noqa: S105 - maximum
    SIGNING_SECRET_TOO_SHORT = "signing_secret_too_short"  # noqa: S105 - minimum
    ALG_NEEDS_LONGER_SECRET = "alg_needs_longer_secret"  # noqa: S105 - alg, minimum, length, client_id
    PUBLIC_HAS_NO_SECRET = "public_has_no_secret"  # noqa: S105 - client_id
    OWN_KEYS_HAVE_NO_SECRET = "own_keys_have_no_secret"  # noqa: S105 - client_id
    TWO_SECRETS_ALREADY = "two_secrets_already"  # noqa: S105 - client_id, ends_at
    NO_OLDER_SECRET = "no_older_secret"  # noqa: S105 - client_id
    # warnings about a registration
    WITHOUT_PKCE = "without_pkce"
    WITHOUT_USE = "without_use"
    AUDIENCE_INJECTION = "audience_injection"
    LONG_LIVED_JWT = "long_lived_jwt"
    LONG_PUBLIC_LEEWAY = "long_public_leeway"
    UNUSED_MEMBER = "unused_member"  # member
    MISSPELT_MEMBER = "misspelt_member"  # member, similar
    SUBJECTS_CHANGE = "subjects_change"
    # a scope
    INVALID_SCOPE = "invalid_scope"  # scope
    UNKNOWN_SCOPE = "unknown_scope"  # scope
    INVALID_SCOPE_NAME = "invalid_scope_name"  # scope
    INVALID_SCOPE_DESCRIPTION = "invalid_scope_description"  # reason
    NO_SUCH_SCOPE = "no_such_scope"  # scope
    SCOPE_EXISTS = "scope_exists"  # scope
    SCOPE_IN_USE = "scope_in_use"  # scope, client_ids
    RESERVED_SCOPE = "reserved_scope"  # scope
    # a user
    UNKNOWN_USER = "unknown_user"  # email
    INVALID_EMAIL = "invalid_email"  # email
    EMAIL_TAKEN = "email_taken"  # email
    NAME_LENGTH = "name_length"  # reason
    NAME_CHARACTERS = "name_characters"  # reason
    INVALID_CLAIM = "invalid_claim"  # text
    INVALID_SUB = "invalid_sub"  # sub, maximum
    SUB_NEVER_CHANGES = "sub_never_changes"  # email
    # a password
    PASSWORD_TOO_SHORT = "password_too_short"  # noqa: S105 - minimum
    PASSWORD_TOO_LONG = "password_too_long"  # noqa: S105 - maximum
    PASSWORD_CHARACTERS = "password_characters"  # noqa: S105
    PASSWORD_UNCHANGED = "password_unchanged"  # noqa: S105
    # a signing key
    UNKNOWN_SIGNING_KEY = "unknown_signing_key"  # kid
    KEY_SIGNS_NOW = "key_signs_now"  # alg
    KEY_HAS_LIVE_TOKENS = "key_has_live_tokens"  # expires_at
    KEY_PRESENTED_LATELY = "key_presented_lately"  # presented_at
    # a tenant
    TENANTS_ARE_OFF = "tenants_are_off"
    UNKNOWN_TENANT = "unknown_tenant"  # name
    INVALID_TENANT_NAME = "invalid_tenant_name"  # name, maximum
    TENANT_EXISTS = "tenant_exists"  # name
    INVALID_ISSUER = "invalid_issuer"  # reason
    ISSUER_TAKEN = "issuer_taken"  # issuer
    INVALID_TENANT_SETTING = "invalid_tenant_setting"  # text
    HOME_STAYS = "home_stays"
    # a seed
    REPEATED = "repeated"  # other


def problem(code: Code, **values: object) -> Problem:
    """Return a problem with the values that complete its sentence."""
    return Problem(code, values)


def refuse_if_any(problems: Iterable[Problem]) -> None:
    """Raise InvalidInputError with all of them together."""
    if found := list(problems):
        raise InvalidInputError(found)
