"""The names of the ways of client authentication (RFC 7591 §2, OpenID Connect Core §9).

`client_auth/` has a file for each of them.
"""

NONE = "none"
CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105 - the name of a method, as are the others
CLIENT_SECRET_POST = "client_secret_post"  # noqa: S105
CLIENT_SECRET_JWT = "client_secret_jwt"  # noqa: S105
PRIVATE_KEY_JWT = "private_key_jwt"
CONFIDENTIAL = [CLIENT_SECRET_BASIC, CLIENT_SECRET_POST, PRIVATE_KEY_JWT, CLIENT_SECRET_JWT]
ALL = [*CONFIDENTIAL, NONE]  # for endpoints that take public clients too, which only name themselves
