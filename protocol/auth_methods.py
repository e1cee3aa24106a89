"""The ways in which a client proves itself, by their names in RFC 7591 §2 and OpenID Connect Core §9.

`client_auth/` has a file for each of them.
"""

CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105 - names of methods, not secrets
CLIENT_SECRET_POST = "client_secret_post"  # noqa: S105
CLIENT_SECRET_JWT = "client_secret_jwt"  # noqa: S105
PRIVATE_KEY_JWT = "private_key_jwt"
NONE = "none"
WITH_A_PROOF = [CLIENT_SECRET_BASIC, CLIENT_SECRET_POST, PRIVATE_KEY_JWT, CLIENT_SECRET_JWT]
ANY = [*WITH_A_PROOF, NONE]  # where a public client may come as well: it only names itself
