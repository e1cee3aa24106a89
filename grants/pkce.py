"""Proof Key for Code Exchange as an extension of Authlib's grant: S256 only (RFC 7636, OAuth 2.1 §4.1.1).

Authlib's own extension allows `plain` and makes it the default; it asks public clients alone, and only at the
token endpoint. Here the authorization endpoint asks every client that is not exempted for a challenge, and
the token endpoint checks the verifier.
"""

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.grants import BaseGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from protocol.pkce import CODE_CHALLENGE, matches
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request


class S256CodeChallenge(CodeChallenge):
    """The extension of the authorization code grant that checks both ends of RFC 7636 §4."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
    DEFAULT_CODE_CHALLENGE_METHOD = None

    def validate_code_challenge(self, grant: BaseGrant, redirect_uri: str) -> None:
        """Check the challenge of an authorization request. Raises InvalidRequestError."""
        request: OAuth2Request = grant.request
        data = request.payload.data
        challenge, method = data.get("code_challenge"), data.get("code_challenge_method")
        if challenge is None and method is None:
            if request.client.require_pkce:
                raise InvalidRequestError("code_challenge is missing (RFC 7636 section 4.3)")
            return
        if method != "S256":
            raise InvalidRequestError("code_challenge_method must be S256")
        if challenge is None or not CODE_CHALLENGE.fullmatch(challenge):
            raise InvalidRequestError(
                "code_challenge must be 43 characters of base64url (RFC 7636 section 4.2)"
            )

    def validate_code_verifier(self, grant: BaseGrant, result: object) -> None:
        """Check the verifier of a code exchange. Raises InvalidGrantError."""
        request: OAuth2Request = grant.request
        code = request.authorization_code
        if code is None or not matches(request.form.get("code_verifier"), code.row.code_challenge):
            set_reason(Reason.WRONG_VERIFIER)
            raise InvalidGrantError("code_verifier does not match the authorization request")
