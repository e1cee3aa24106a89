"""The ways in which a client proves itself, by their names in RFC 7591 §2 and OpenID Connect Core §9.

`client_auth/` has a file for each of them.
"""

NONE = "none"
WITH_A_PROOF = ["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt"]
ANY = [*WITH_A_PROOF, NONE]  # where a public client may come as well: it only names itself
