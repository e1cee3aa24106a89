"""What is signed for clients: ID tokens, as an extension of the grants (OpenID Connect Core §2, §3.1.3.3, §12.2), and access
tokens that are JWTs (RFC 9068).

An ID token says who signed in, when and how; what the authorization request wanted to know was kept with the code, and stays
through all refreshes. It is made when the tokens are stored already, so that it can name the access token that really goes out.
"""

from typing import Any

from current import keyring, settings
from models import Client
from protocol import claims, clock, credentials, scopes

DEFAULT_ALG = "RS256"  # OpenID Connect Registration §2


class IdToken:
    """Adds `id_token` to the response of a grant whose scope has `openid`."""

    def __call__(self, grant: Any) -> None:
        grant.register_hook("after_create_token_response", self.add_to_response)

    def add_to_response(self, grant: Any, response: tuple[int, dict[str, Any], Any]) -> None:
        _status, token, _headers = response
        if scopes.OPENID not in scopes.split(token.get("scope")):
            return
        request = grant.request
        sign_in = request.authorization_code or request.refresh_token  # both remember it
        alg = request.client.member("id_token_signed_response_alg", DEFAULT_ALG)
        members = id_token_claims(request.client, request.user, sign_in, token["access_token"], alg)
        token["id_token"] = keyring.sign(members, alg)


def id_token_claims(client: Client, person: Any, sign_in: Any, access_token: str, alg: str) -> dict[str, Any]:
    """person: a row of `end_user`. sign_in: `auth_time`, `acr`, `sid` and `openid` as the authorization request left them."""
    openid = sign_in.openid or {}
    now = clock.now()
    members = {
        "iss": str(settings.issuer),
        "sub": openid.get("sub", person.sub),
        "aud": client.client_id,
        "azp": client.client_id,
        "iat": now,
        "exp": now + int(settings.id_token_lifetime.total_seconds()),
        "auth_time": sign_in.auth_time,
        "nonce": openid.get("nonce"),
        "acr": claims.acr(sign_in),
        "amr": openid.get("amr"),
        "sid": sign_in.sid,
        "at_hash": claims.at_hash(access_token, alg),
    }
    wanted = [name for name in claims.requested(openid, "id_token") if name in claims.PERSON_CLAIMS]
    return claims.of_person(person, wanted) | {name: value for name, value in members.items() if value is not None}


def sign_access_token(client: Client, person: Any, scope: str | None, lifetime: int, sign_in: Any = None) -> str:
    """A JWT access token (RFC 9068 §2.2), for a client that was registered so.

    person, sign_in: None where a machine acts for itself.

    How and when the person signed in is there without `openid` too: a resource server may ask for a newer sign-in (RFC 9470).

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
