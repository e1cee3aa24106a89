"""Proof Key for Code Exchange as an extension of Authlib's grant: S256 only (RFC 7636, OAuth 2.1 §4.1.1).

Authlib's own extension allows `plain`, makes it the default, and asks public clients alone, and only at the
token endpoint. Here a challenge is asked at the authorization endpoint, of every client that was not
exempted, and again at the token endpoint.
"""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc7636 import CodeChallenge

from protocol.pkce import CODE_CHALLENGE, matches
from services.event_log import Reason, set_reason


class S256CodeChallenge(CodeChallenge):
    """Registered with the authorization code grant; checks both ends of RFC 7636 §4."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
    DEFAULT_CODE_CHALLENGE_METHOD = None

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        challenge, method = data.get("code_challenge"), data.get("code_challenge_method")
        if challenge is None and method is None:
            if grant.request.client.require_pkce:
                raise InvalidRequestError("code_challenge is missing (RFC 7636 section 4.3)")
            return
        if method != "S256":
            raise InvalidRequestError("code_challenge_method must be S256")
        if challenge is None or not CODE_CHALLENGE.fullmatch(challenge):
            raise InvalidRequestError(
                "code_challenge must be 43 characters of base64url (RFC 7636 section 4.2)"
            )

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        request = grant.request
        if not matches(request.form.get("code_verifier"), request.authorization_code.code_challenge):
            set_reason(Reason.WRONG_VERIFIER)
            raise InvalidGrantError("code_verifier does not match the authorization request")
