"""Sign access tokens that are JWTs (RFC 9068), for clients that are registered for them."""

from crypto import credentials
from crypto.jwt import DEFAULT_ALG
from protocol import claims, clock
from protocol.registered_client import RegisteredClient
from services.current import keyring, settings
from services.oauth2_types import SignIn
from store.users import UserRow


def sign_access_token(
    client: RegisteredClient,
    user: UserRow | None,
    scope: str | None,
    lifetime: int,
    sign_in: SignIn | None = None,
) -> str:
    """Return an access token as a JWT (RFC 9068 §2.2).

    user, sign_in: None for client credentials. lifetime: seconds.
    `auth_time` and `acr` are there without the scope `openid` too: a resource server may ask for a newer
    sign-in (RFC 9470). The audience is this server until clients can name another (RFC 8707): a resource
    server that takes the token knows the issuer.
    """
    now = clock.now()
    sub = client.client_id if user is None else claims.subject(client, user.sub, user.pairwise_secret)
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
