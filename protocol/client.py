"""What the rules of this room read of a client's registration."""

from typing import Any, Protocol


class Client(Protocol):
    """A registered client; `models.Client` is one."""

    @property
    def client_id(self) -> str: ...

    @property
    def scope(self) -> str: ...

    @property
    def redirect_uris(self) -> list[str]: ...

    def member(self, name: str, default: Any = None) -> Any:
        """Return a member of the registration that has no column, or `default`: any JSON value."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return the scopes of `scope` that the client is registered for; None where there are none."""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Return whether a redirect URI is registered for the client."""

    def get_default_redirect_uri(self) -> str | None:
        """Return the client's only redirect URI; None where it has none or several."""
