"""The secrets of a client: made, replaced with or without an overlap, and ended.

A secret is stored as its digest. That of a client that signs with it is stored encrypted, because only the
secret itself can verify such a signature (RFC 7518 §3.2). At most two are good at once.
"""

from typing import NamedTuple

import store.client_secrets
from crypto import credentials
from errors import ConflictError
from models import Client
from protocol import auth_methods, clock
from services.current import keyring
from services.problems import Code, problem

WITHOUT_SECRET = ("none", auth_methods.PRIVATE_KEY_JWT)


class SecretInfo(NamedTuple):
    """What may be shown of a live secret: its age and its use, never the secret."""

    number: int
    made_at: int | None
    last_used_at: int | None
    ends_at: int | None


def list_live(client: Client) -> list[SecretInfo]:
    """Return the live secrets of a client, the newest first."""
    last_uses = store.client_secrets.last_uses(client.client_id)
    return [
        SecretInfo(secret.number, secret.made_at, last_uses.get(secret.number), secret.ends_at)
        for secret in client.live_secrets(clock.now())
    ]


def rotate(client: Client, overlap: int | None = None) -> str:
    """Return a new secret for a client whose row is locked.

    overlap: for how many seconds the secret before it stays good; None: it ends now.
    Raise ConflictError for a client that has no secret, and for an overlap where there are two already.
    """
    older_ends_at = check_has_secret(client)
    if overlap is not None and older_ends_at is not None:
        raise ConflictError(
            [problem(Code.TWO_SECRETS_ALREADY, client_id=client.client_id, ends_at=older_ends_at)]
        )
    return make(client, overlap)


def delete_older(client: Client) -> None:
    """End the older of two secrets, and keep the newer, which is in use by now. The client's row is locked.

    Raise ConflictError where there is one secret, or none.
    """
    if check_has_secret(client) is None:
        raise ConflictError([problem(Code.NO_OLDER_SECRET, client_id=client.client_id)])
    delete_previous(client)
    store.client_secrets.forget_uses_before(client.client_id, client.client_secret_number)


def check_has_secret(client: Client) -> int | None:
    """Return when the older of two secrets ends, None for one. Raise ConflictError for a client without."""
    if client.is_public:
        raise ConflictError([problem(Code.PUBLIC_HAS_NO_SECRET, client_id=client.client_id)])
    if client.token_endpoint_auth_method in WITHOUT_SECRET:
        raise ConflictError([problem(Code.OWN_KEYS_HAVE_NO_SECRET, client_id=client.client_id)])
    return next((secret.ends_at for secret in client.live_secrets(clock.now()) if secret.ends_at), None)


def follow_auth_method(client: Client) -> str | None:
    """Give the client just the kind of secret that its auth method needs; return one that is made now."""
    method = client.token_endpoint_auth_method
    signs = method == auth_methods.CLIENT_SECRET_JWT
    if not signs:
        client.sealed_client_secret = None
    if signs or method in WITHOUT_SECRET:
        client.client_secret_digest = None
    if method in WITHOUT_SECRET or signs != (client.sealed_previous_secret is not None):
        delete_previous(client)
    if method in WITHOUT_SECRET or client.client_secret_digest or client.sealed_client_secret:
        return None
    return make(client)


def make(client: Client, overlap: int | None = None) -> str:
    """Return a new random secret, which the client has from now on; `overlap` as in `rotate`."""
    signs = client.token_endpoint_auth_method == auth_methods.CLIENT_SECRET_JWT
    client_secret = (
        credentials.CLIENT_SECRET + credentials.random_text(64) if signs else credentials.new_client_secret()
    )
    put(client, client_secret, overlap)
    return client_secret


def put(client: Client, client_secret: str, overlap: int | None = None) -> None:
    """Give the client this secret in place of those before; `overlap` as in `rotate`.

    One that it has already stays as it is.
    """
    if is_present(client, client_secret):
        return
    delete_previous(client)
    if overlap is not None:
        client.previous_secret_digest = client.client_secret_digest
        client.sealed_previous_secret = client.sealed_client_secret
        client.previous_secret_made_at = client.client_secret_made_at
        client.previous_secret_ends_at = clock.now() + overlap
    signs = client.token_endpoint_auth_method == auth_methods.CLIENT_SECRET_JWT
    client.client_secret_digest = None if signs else credentials.digest(client_secret)
    client.sealed_client_secret = (
        keyring.client_secrets.encrypt(client_secret.encode(), client.client_id) if signs else None
    )
    client.client_secret_number = (client.client_secret_number or 0) + 1
    client.client_secret_made_at = clock.now()
    if client.client_secret_number > 1:
        oldest = client.client_secret_number - (overlap is not None)
        store.client_secrets.forget_uses_before(client.client_id, oldest)


def is_present(client: Client, client_secret: str) -> bool:
    """Return whether this is the client's newest secret, in the form that its auth method needs."""
    if client.token_endpoint_auth_method != auth_methods.CLIENT_SECRET_JWT:
        return client.client_secret_digest == credentials.digest(client_secret)
    encrypted = client.sealed_client_secret
    if encrypted is None:
        return False
    return keyring.client_secrets.decrypt(encrypted, client.client_id) == client_secret.encode()


def delete_previous(client: Client) -> None:
    """Take the older of two secrets away from a client."""
    client.previous_secret_digest = client.sealed_previous_secret = None
    client.previous_secret_made_at = client.previous_secret_ends_at = None
