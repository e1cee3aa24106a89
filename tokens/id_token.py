"""What is signed for clients: ID tokens, as an extension of the grants (OpenID Connect Core §2, §3.1.3.3,
§12.2), and access tokens that are JWTs (RFC 9068).

An ID token says who signed in, when and how; what the authorization request wanted to know was kept with the
code, and stays through all refreshes. It is made when the tokens are stored already, so that it can name the
access token that really goes out.
"""

from typing import Any

from models import Client
from protocol import claims, clock, scopes
from services.current import keyring, settings

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
    """person: a row of `end_user`. sign_in: `auth_time`, `acr`, `sid` and `openid` as the authorization
    request left them.
    """
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
    return claims.of_person(person, wanted) | {
        name: value for name, value in members.items() if value is not None
    }
