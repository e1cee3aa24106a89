"""Sign ID tokens, as an extension of the grants (OpenID Connect Core §2, §3.1.3.3, §12.2).

An ID token says who signed in, when and how. What the authorization request asked for was stored with the
code, and stays through all refreshes. The ID token is made after the tokens are stored, so that its `at_hash`
is that of the access token which really goes out.
"""

from authlib.oauth2.rfc6749.grants import BaseGrant

from crypto.json_values import JsonObject
from crypto.jwt import DEFAULT_ALG
from protocol import claims, clock, scopes
from protocol.registered_client import RegisteredClient
from services.current import keyring, settings
from services.oauth2_types import OAuth2Request, SignIn, TokenResponse
from store.users import UserRow


class IdToken:
    """Adds `id_token` to the response of a grant whose scope has `openid`."""

    def __call__(self, grant: BaseGrant) -> None:
        grant.register_hook("after_create_token_response", self.add_to_response)

    def add_to_response(
        self, grant: BaseGrant, response: tuple[int, TokenResponse, list[tuple[str, str]]]
    ) -> None:
        """Add the ID token to a token response, which Authlib passes with its status and headers."""
        _status, token, _headers = response
        if scopes.OPENID not in scopes.split(token.get("scope")):
            return
        request: OAuth2Request = grant.request
        presented = request.authorization_code or request.refresh_token
        if presented is None or request.user is None:
            return  # a client's own token has no ID token
        client = request.client
        alg = client.member("id_token_signed_response_alg", DEFAULT_ALG)
        members = id_token_claims(client, request.user, presented.sign_in, token["access_token"], alg)
        token["id_token"] = keyring.sign(members, alg)


def id_token_claims(
    client: RegisteredClient, user: UserRow, sign_in: SignIn, access_token: str, alg: str
) -> JsonObject:
    """Return the claims of an ID token (OpenID Connect Core §2). alg: of its signature, for `at_hash`."""
    openid = sign_in.openid or {}
    now = clock.now()
    members = {
        "iss": str(settings.issuer),
        "sub": claims.remembered_subject(openid, user.sub),
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
    wanted = [name for name in claims.requested_claims(openid, "id_token") if name in claims.USER_CLAIMS]
    return claims.of_user(user, wanted) | {
        name: value for name, value in members.items() if value is not None
    }
