"""Sign access tokens that are JWTs (RFC 9068), for clients that are registered so."""

from typing import Any

from crypto import credentials
from models import Client
from protocol import claims, clock
from services.current import keyring, settings
from tokens.id_token import DEFAULT_ALG


def sign_access_token(
    client: Client, person: Any, scope: str | None, lifetime: int, sign_in: Any = None
) -> str:
    """A JWT access token (RFC 9068 §2.2), for a client that was registered so.

    person, sign_in: None where a machine acts for itself.

    How and when the person signed in is there without `openid` too: a resource server may ask for a newer
    sign-in (RFC 9470).

    Its audience is this server until clients can name another (RFC 8707): whoever takes it knows the issuer.
    """
    now = clock.now()
    sub = client.client_id if person is None else claims.subject(client, person.sub, person.pairwise_secret)
    members = {
        "iss": str(settings.issuer),
        "aud": str(settings.issuer),
        "sub": sub,
        "client_id": client.client_id,
        "iat": now,
        "exp": now + lifetime,
        "jti": credentials.random_text(16),
        "scope": scope or None,
        "auth_time": None if sign_in is None else sign_in.auth_time,
        "acr": None if sign_in is None else claims.acr(sign_in),
    }
    alg = client.member("id_token_signed_response_alg", DEFAULT_ALG)
    return keyring.sign({name: value for name, value in members.items() if value is not None}, alg, "at+jwt")
