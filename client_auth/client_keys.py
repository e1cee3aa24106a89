"""Find the public keys that a client signs with: in its registration, or in the document at its `jwks_uri`.

Enters: a client and a token that it may have signed. Leaves: parsed keys; nothing proves yet that one of them
has signed the token. A key is found by its `kid` and parsed when it is first needed, once for each client and
document. A document is fetched while no transaction is open, and few requests may wait for that at once.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from authlib.oauth2.rfc6749 import OAuth2Error
from joserfc.jwk import Key

from crypto import credentials, jwt
from crypto.json_values import JsonObject
from errors import FetchBusyError, FetchError, InvalidJwtError
from outbound.document_cache import Document
from outbound.http_client import SECONDS
from protocol import client_jwks
from protocol.registered_client import RegisteredClient
from services import throttling
from services.current import documents
from services.event_log import Reason, set_reason
from unit_of_work import run_outside_transaction

log = logging.getLogger("ostiary.client_auth")

MAXIMUM_SETS = 256  # cached in this process
MAXIMUM_PARSED = 20  # keys that are parsed for one token

Keys = Sequence[tuple[str | None, Key]]


class KeysNotAtHandError(OAuth2Error):
    """503: the client's keys have to be fetched, and cannot be at the moment. The request may be sent again.

    At the authorization endpoint it is `temporarily_unavailable` (RFC 6749 §4.1.2.1).
    """

    error = "temporarily_unavailable"
    description = "the client's keys cannot be fetched at the moment, try again in a few seconds"
    status_code = 503

    def __init__(self, seconds_to_wait: int) -> None:
        super().__init__()
        self.seconds_to_wait = seconds_to_wait

    def get_headers(self) -> list[tuple[str, str]]:
        return [*super().get_headers(), ("Retry-After", str(self.seconds_to_wait))]


class ThrottledError(KeysNotAtHandError):
    """503: too many failures of this client, from this address."""


@dataclass(frozen=True)
class KeySet:
    """The JWK Set of a client. Two sets are equal when client and digest are."""

    client_id: str
    digest: bytes
    document: object = field(compare=False)


class ParsedKeySet:
    """The keys of a set that may sign, by `kid` and algorithm. Other keys are ignored (RFC 7517 §5)."""

    def __init__(self, client_id: str, document: object) -> None:
        self._client_id = client_id
        # All keys are listed under the `kid` None too, for tokens that name none.
        self._listed = dict[tuple[str | None, str], list[JsonObject]]()
        self._parsed = dict[int, Key | None]()
        listed = document.get("keys") if isinstance(document, dict) else None
        for jwk in listed if isinstance(listed, list) else ():
            for alg in client_jwks.algorithms_of_key(jwk) if isinstance(jwk, dict) else ():
                kid = jwk.get("kid")
                for name in {None, kid if isinstance(kid, str) else None}:
                    self._listed.setdefault((name, alg), []).append(jwk)

    def find(self, kid: str | None, alg: str) -> Keys:
        """Return the keys of this `kid` and algorithm, with their `kid`; for a `kid` of None a few of all."""
        return list(islice(self._usable(kid, alg), jwt.MAXIMUM_TRIES))

    def _usable(self, kid: str | None, alg: str) -> Iterator[tuple[str | None, Key]]:
        for jwk in self._listed.get((kid, alg), [])[:MAXIMUM_PARSED]:
            if id(jwk) not in self._parsed:
                self._parsed[id(jwk)] = self._parse(jwk)
            if (key := self._parsed[id(jwk)]) is not None:
                yield jwk.get("kid"), key

    def _parse(self, jwk: JsonObject) -> Key | None:
        """Return the key; None, and a line in the log, for one that could not be registered."""
        if problem := client_jwks.problem_of_key(jwk):
            log.warning("a key of a client is passed over: client_id=%s, it %s", self._client_id, problem)
            return None
        return client_jwks.read(jwk)


def find(client: RegisteredClient, token: str) -> Keys:
    """Return the keys of this client that may have signed a token; none where they cannot be fetched.

    A document without the token's `kid` is fetched once more. Raises KeysNotAtHandError where too many
    requests wait for documents, and ThrottledError after too many failures of this client.
    """
    jwks, uri = client.member("jwks"), client.member("jwks_uri")
    try:
        header = jwt.read_header(token)
    except InvalidJwtError:
        return ()
    kid, alg = header.get("kid"), header["alg"]
    if jwks is not None:
        return parsed(KeySet(client.client_id, credentials.digest(json.dumps(jwks)), jwks)).find(kid, alg)
    if uri is None:
        return ()
    try:
        keys = parsed(published(client, uri)).find(kid, alg)
        return keys if keys or kid is None else parsed(published(client, uri, again=True)).find(kid, alg)
    except FetchBusyError:
        set_reason(Reason.KEYS_NOT_AT_HAND)
        raise KeysNotAtHandError(int(SECONDS)) from None
    except FetchError as error:
        log.warning("the keys of a client cannot be had: client_id=%s reason=%s", client.client_id, error)
        return ()


def published(client: RegisteredClient, uri: str, again: bool = False) -> KeySet:
    """Return the JWK Set at the client's `jwks_uri`, from the cache or fetched outside the transaction.

    again: not older than a minute. Raises FetchError, ThrottledError.
    """
    document: Document | FetchError | None = documents.get_cached(uri, recent=again)
    if document is None:
        if seconds := throttling.seconds_to_wait(throttling.for_fetching(client.client_id)):
            set_reason(Reason.THROTTLED)
            raise ThrottledError(seconds)
        document = run_outside_transaction(("client document", uri, again), lambda: fetch(uri, again))
    if isinstance(document, FetchError):
        raise document
    return KeySet(client.client_id, document.digest, document.content)


def fetch(uri: str, again: bool) -> Document | FetchError:
    """Return the document of an address, or the error that the request raises when it runs again."""
    try:
        return documents.refresh(uri) if again else documents.get(uri)
    except FetchError as error:
        return error


@lru_cache(maxsize=MAXIMUM_SETS)
def parsed(key_set: KeySet) -> ParsedKeySet:
    """Return the keys of a set; the sets that were used last are cached."""
    return ParsedKeySet(key_set.client_id, key_set.document)
