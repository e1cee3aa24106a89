"""Give a client that repeats a refresh the tokens that it was issued the first time.

A client may lose a response, or refresh in two tabs at once. The row of the new tokens keeps the response,
encrypted under the refresh token that was presented: it can be decrypted only when that token comes again.
`protocol/refresh.py` decides when a repeat is allowed; `my_oauth.claim_for_refresh` calls.
"""

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError

import store.tokens
from client_auth.errors import ClientAuthenticationFailed
from crypto import credentials
from crypto.encryption import decrypt, encrypt
from protocol import clock, scopes
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request, PresentedRefreshToken, TokenResponse
from store.tokens import FamilyRow


def encrypt_response(token: TokenResponse, request: OAuth2Request, presented: PresentedRefreshToken) -> bytes:
    """Return the response of a refresh, encrypted under the refresh token that was presented."""
    asked = requested_scope(request, presented)
    content = {"auth_method": request.auth_method, "asked": asked, "token": token}
    return encrypt(content, str(presented.presented))


def decrypt_response(
    family: FamilyRow, request: OAuth2Request, presented: PresentedRefreshToken
) -> TokenResponse:
    """Return the response that this refresh token was answered with the first time.

    A repeat that asks for something else is refused, and revokes nothing. Raises InvalidGrantError,
    InvalidScopeError or ClientAuthenticationFailed.
    """
    content = decrypt(family.sealed_pair, str(presented.presented)) if family.sealed_pair else None
    if content is None:
        set_reason(Reason.REFRESH_REUSED)
        raise InvalidGrantError("this refresh token was replaced by another")
    if content["auth_method"] != request.auth_method:
        set_reason(Reason.WRONG_AUTH_METHOD)
        raise ClientAuthenticationFailed
    first: TokenResponse = content["token"]
    asked_first = content.get("asked", first.get("scope"))
    if set(scopes.split(requested_scope(request, presented))) != set(scopes.split(asked_first)):
        raise InvalidScopeError("the first refresh asked for another scope")
    return first


def requested_scope(request: OAuth2Request, presented: PresentedRefreshToken) -> str:
    """Return the scope that a refresh asks for; all that was granted where it names none (RFC 6749 §6)."""
    return request.payload.scope or presented.get_scope()


def repeat_response(
    token: TokenResponse,
    first: TokenResponse,
    family: FamilyRow,
    request: OAuth2Request,
    presented: PresentedRefreshToken,
) -> None:
    """Fill `token` with the first response.

    Where the registration of the client has been narrowed since, it keeps the new access token, which takes
    the place of the first one in the row: that one is good for more than the client may have now.
    """
    granted = first.get("scope", "")
    if request.client.still_allowed(granted) == granted:
        token.pop("scope", None)
        token.update(first)
        token["expires_in"] = max(family.access_token_expires_at - clock.now(), 0)
        return
    token["refresh_token"] = first["refresh_token"]
    store.tokens.replace_access_token(
        family.id,
        access_token_digest=credentials.digest(token["access_token"]),
        access_token_expires_at=clock.now() + token["expires_in"],
        access_token_scope=token.get("scope", ""),
        openid=presented.openid,
        sealed_pair=encrypt_response(token, request, presented),
    )
