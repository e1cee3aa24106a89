"""The rules of a registered client: what Authlib asks of it, and what its registration means.

`models.Client` has the columns. A lifetime of None means the server's setting, `NEVER` no end.
"""

import hmac
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from authlib.oauth2.rfc6749 import ClientMixin

from crypto import credentials
from protocol import auth_methods, clock, redirect_uris, scopes

NEVER = 0  # a client's lifetime of 0 seconds: this credential does not expire


class LiveSecret(NamedTuple):
    """A client secret that is valid now; it has a `digest`, or it is encrypted (`sealed`)."""

    number: int  # counts the client's secrets
    digest: bytes | None
    sealed: bytes | None
    made_at: int | None  # None for one that is older than this column
    ends_at: int | None  # None for no end


class RegisteredClient(ClientMixin):
    """What is known of a client that is registered here (RFC 7591 §2 has the members)."""

    if TYPE_CHECKING:
        client_id: str
        client_secret_digest: bytes | None
        sealed_client_secret: bytes | None
        client_secret_number: int
        client_secret_made_at: int | None
        previous_secret_digest: bytes | None
        sealed_previous_secret: bytes | None
        previous_secret_made_at: int | None
        previous_secret_ends_at: int | None
        token_endpoint_auth_method: str
        grant_types: list[str]
        redirect_uris: list[str]
        scope: str
        is_resource_server: bool
        require_pkce: bool
        rotate_refresh_tokens: bool
        max_sessions: int | None
        access_token_lifetime: int | None
        refresh_token_idle_lifetime: int | None
        refresh_token_lifetime: int | None
        refresh_leeway: int | None
        refresh_retry_lifetime: int | None
        extra_metadata: dict[str, Any]

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """Return the one redirect URI that is registered, None for several (RFC 6749 §3.1.2.3)."""
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def home(self) -> str | None:
        """Return where users find the application: its `initiate_login_uri`, its home page, or its site."""
        known = self.member("initiate_login_uri") or self.member("client_uri")
        if known:
            return str(known)
        origins = (redirect_uris.origin(uri) for uri in self.redirect_uris)
        return next((f"{origin}/" for origin in origins if origin is not None), None)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uris.is_registered(redirect_uri, self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        return self.number_of_secret(client_secret) is not None

    def number_of_secret(self, client_secret: str) -> int | None:
        """Return the number of the valid secret that this is, or None."""
        presented = credentials.digest(client_secret)
        right = [
            secret.number
            for secret in self.live_secrets(clock.now())
            if hmac.compare_digest(secret.digest or b"", presented)
        ]
        return right[0] if right else None

    def live_secrets(self, now: int) -> list[LiveSecret]:
        """Return the valid secrets, at most two, the newest first."""
        secrets = []
        if self.client_secret_digest is not None or self.sealed_client_secret is not None:
            stored = (self.client_secret_digest, self.sealed_client_secret)
            secrets.append(LiveSecret(self.client_secret_number, *stored, self.client_secret_made_at, None))
        if self.previous_secret_ends_at is not None and self.previous_secret_ends_at > now:
            stored = (self.previous_secret_digest, self.sealed_previous_secret)
            until = self.previous_secret_ends_at
            secrets.append(
                LiveSecret(self.client_secret_number - 1, *stored, self.previous_secret_made_at, until)
            )
        return secrets

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.token_endpoint_auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and "authorization_code" in self.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return the scope that a request gets, None where one of its words is not registered.

        scope: None where the request names none: then all that is registered. "" gets nothing.
        """
        if scope is None:
            return self.scope
        allowed = self.scope
        if self.check_grant_type("authorization_code"):
            allowed += f" {scopes.OFFLINE_ACCESS}"
        return scopes.join(scopes.split(scope)) if scopes.is_within(scope, allowed) else None

    def still_allowed(self, scope: str | None) -> str:
        """Return what is still registered of a scope that was granted before."""
        return scopes.join([word for word in scopes.split(scope) if self.get_allowed_scope(word) is not None])

    def lifetime(self, own: int | None, default: timedelta) -> int | None:
        """Return the client's `own` lifetime in seconds, else the server's `default`; None for no end."""
        if own is None:
            return int(default.total_seconds())
        return None if own == NEVER else own

    def member(self, name: str, default: Any = None) -> Any:
        """Return a registration member that has no column of its own."""
        return self.extra_metadata.get(name, default)

    @property
    def has_jwt_access_tokens(self) -> bool:
        """Return whether its access tokens are JWTs (RFC 9068); else they are random text."""
        return bool(self.member("access_token_format") == "jwt")

    @property
    def is_public(self) -> bool:
        return self.token_endpoint_auth_method == auth_methods.NONE
