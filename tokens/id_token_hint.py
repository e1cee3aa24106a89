"""Read an `id_token_hint`: an ID token of this server that a client sends back, to name a user or a session.

OpenID Connect Core §3.1.2.1 and RP-Initiated Logout §2: it may have expired long ago, but it must be an ID
token (an access token or a logout token is none, RFC 8725 §3.11), and this server must have signed it.
"""

from crypto.json_values import JsonObject
from errors import InvalidJwtError
from services.current import keyring

TYPES = {"jwt", None}


def read(text: str) -> JsonObject | None:
    """Return the claims of the hint, or None for anything that is not an ID token of this server."""
    try:
        hint = keyring.read_own(text, TYPES)
    except InvalidJwtError:
        return None
    is_id_token = (
        isinstance(hint.get("sub"), str) and isinstance(hint.get("aud"), str) and "auth_time" in hint
    )
    return hint if is_id_token else None


def is_for(hint: JsonObject, client_id: str) -> bool:
    """Return whether the ID token was issued to this client."""
    return bool(hint["aud"] == client_id)
