"""The public keys that a client signs with: of its registration, or of the document that its registration points to.

Enters: a client and a token that it may have signed. Leaves: parsed keys, of which none is proven to have signed anything. Parsing
is done once for each client and document.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from joserfc.jwk import Key

from current import documents
from fetching import FetchError
from models import Client
from protocol import client_jwks, credentials, jwt
from protocol.jwt import InvalidJwtError

log = logging.getLogger("ostiary.client_auth")

MAXIMUM_SETS = 256  # kept parsed, in this process
MAXIMUM_KEYS = 100  # of a document; more are not looked at

Keys = Sequence[tuple[str | None, Key]]


@dataclass(frozen=True)
class KeySet:
    """A client's JWK Set. Two are the same when client and digest are."""

    client_id: str
    digest: bytes
    document: Any = field(compare=False)


def find(client: Client, token: str) -> Keys:
    """The keys of this client, none where they cannot be had. A `kid` that is new has a published document read again."""
    jwks, uri = client.member("jwks"), client.member("jwks_uri")
    if jwks is not None:
        return parse(KeySet(client.client_id, credentials.digest(json.dumps(jwks)), jwks))
    if uri is None:
        return ()
    try:
        keys = parse(published(client, uri))
        return parse(published(client, uri, again=True)) if names_another(token, keys) else keys
    except FetchError as error:
        log.warning("the keys of a client cannot be had: client_id=%s reason=%s", client.client_id, error)
        return ()


def published(client: Client, uri: str, again: bool = False) -> KeySet:
    """Raises FetchError."""
    document = documents.refresh(uri) if again else documents.get(uri)
    return KeySet(client.client_id, document.digest, document.content)


def names_another(token: str, keys: Keys) -> bool:
    """Whether the header has a `kid` that none of these keys has (OpenID Connect Core §10.1.1)."""
    try:
        kid = jwt.read_header(token).get("kid")
    except InvalidJwtError:
        return False
    return kid is not None and kid not in {known for known, _key in keys}


@lru_cache(maxsize=MAXIMUM_SETS)
def parse(key_set: KeySet) -> Keys:
    """The keys that can be used; others are passed over (RFC 7517 §5)."""
    document = key_set.document
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return ()
    fit = [jwk for jwk in listed[:MAXIMUM_KEYS] if client_jwks.problem_of_key(jwk) is None]
    return tuple((jwk.get("kid"), key) for jwk in fit if (key := client_jwks.read(jwk)) is not None)
