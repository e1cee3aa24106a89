"""`private_key_jwt` and `client_secret_jwt`: the client signs a short-lived assertion (RFC 7523 §2.2, OpenID
Connect Core §9).

With its own key, of which only the public part is known here; or with its secret, which never travels. An
assertion is good once: its `jti` is spent in the request's transaction, and spent all the same when the
request is refused for another reason.
"""

from collections.abc import Iterator
from typing import Any

from joserfc.jwk import OctKey

import store.spent_assertions
from client_auth import client_keys
from client_auth.client_secret import QueryClient, note_use
from crypto import jwt
from errors import InvalidJwtError
from middleware.endpoint_policy import advertised_paths
from models import Client
from protocol import client_assertion, clock
from services.current import issuer, keyring
from services.event_log import Reason, set_reason
from unit_of_work import after_rollback

PRIVATE_KEY_JWT = "private_key_jwt"
CLIENT_SECRET_JWT = "client_secret_jwt"  # noqa: S105 - RFC 7591's word for a method
ALGORITHMS = {PRIVATE_KEY_JWT: jwt.ASYMMETRIC, CLIENT_SECRET_JWT: jwt.SYMMETRIC}


def authenticate_private_key(query_client: QueryClient, request: Any) -> Client | None:
    """The client whose registered key has signed `client_assertion`."""
    return authenticate(PRIVATE_KEY_JWT, query_client, request)


def authenticate_client_secret(query_client: QueryClient, request: Any) -> Client | None:
    """The client whose secret has signed `client_assertion`."""
    return authenticate(CLIENT_SECRET_JWT, query_client, request)


def authenticate(method: str, query_client: QueryClient, request: Any) -> Client | None:
    """A `client_id` in the body must be the one of the assertion (RFC 7521 §4.2)."""
    assertion = request.form.get("client_assertion", "")
    client_id = client_assertion.claimed_client_id(assertion)
    if not client_id:
        return None
    if request.form.get("client_id", client_id) != client_id:
        set_reason(Reason.CLIENT_NOT_NAMED)
        return None
    client = query_client(client_id)
    if client is None or not client.check_endpoint_auth_method(method, "token"):
        return None
    try:
        spend(verify(assertion, method, client))
    except client_keys.ThrottledError:
        return None  # as one that failed: it is answered 429
    except InvalidJwtError as error:
        set_reason(Reason.WRONG_ASSERTION, detail=str(error))
        return None
    return client


def verify(assertion: str, method: str, client: Client) -> dict[str, Any]:
    """Its claims.

    They are looked at before the signature too, so that no key is fetched for nothing. Raises
    InvalidJwtError.
    """
    now, audiences = clock.now(), audiences_of(client)
    client_assertion.check_claims(jwt.read_unverified(assertion), client.client_id, audiences, now)
    registered = client.member("token_endpoint_auth_signing_alg")
    algorithms = [alg for alg in ALGORITHMS[method] if registered in (None, alg)]
    if method == CLIENT_SECRET_JWT:
        return claims_signed_by_a_secret(assertion, client, algorithms)
    return jwt.decode(assertion, client_keys.find(client, assertion), algorithms, client_assertion.TYP)


def audiences_of(client: Client) -> set[str]:
    """The token endpoint is for clients that cannot do otherwise, and are registered so
    (`assertion_audience`).
    """
    audiences = {str(issuer)}
    if client.member("assertion_audience") == "token_endpoint":
        audiences.add(f"{issuer}{advertised_paths()['token_endpoint']}")
    return audiences


def claims_signed_by_a_secret(assertion: str, client: Client, algorithms: list[str]) -> dict[str, Any]:
    """One of the client's live secrets has signed it. Raises InvalidJwtError."""
    refusal = InvalidJwtError("no known key has signed it")
    for number, key in secrets_of(client):
        try:
            claims = jwt.decode(assertion, [(None, key)], algorithms, client_assertion.TYP)
        except InvalidJwtError as error:
            refusal = error
            continue
        note_use(client, number)
        return claims
    raise refusal


def secrets_of(client: Client) -> Iterator[tuple[int, OctKey]]:
    """The live secrets as keys, each with its number; none that does not open: the server's secret key is
    another one.
    """
    for secret in client.live_secrets(clock.now()):
        opened = (
            keyring.client_secrets.decrypt(secret.sealed, client.client_id)
            if secret.sealed is not None
            else None
        )
        if opened:
            yield secret.number, OctKey.import_key(opened)


def spend(claims: dict[str, Any]) -> None:
    """Raises InvalidJwtError for an assertion that was used before."""
    spent = client_assertion.digest_of_jti(claims), client_assertion.remember_until(claims), clock.now()
    if not store.spent_assertions.spend(*spent):
        raise InvalidJwtError("it was used before")
    after_rollback(store.spent_assertions.spend, *spent)
