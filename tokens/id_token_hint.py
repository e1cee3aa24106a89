"""An `id_token_hint`: an ID token of ours that a client sends back, to say whom or which session it means.

OpenID Connect Core §3.1.2.1 and RP-Initiated Logout §2: it may have expired long ago, but it must be an ID
token (an access token or a logout token is none, RFC 8725 §3.11), and ours.
"""

from typing import Any

from errors import InvalidJwtError
from services.current import keyring

TYPES = {"jwt", None}


def read(text: str) -> dict[str, Any] | None:
    """The claims of the hint, or None for anything that is no ID token of this server."""
    try:
        hint = keyring.read_own(text, TYPES)
    except InvalidJwtError:
        return None
    well_formed = (
        isinstance(hint.get("sub"), str) and isinstance(hint.get("aud"), str) and "auth_time" in hint
    )
    return hint if well_formed else None


def is_for(hint: dict[str, Any], client_id: str) -> bool:
    return bool(hint["aud"] == client_id)
