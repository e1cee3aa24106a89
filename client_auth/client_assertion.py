"""Client authentication by a signed assertion: `private_key_jwt` and `client_secret_jwt`.

RFC 7523 §2.2, OpenID Connect Core §9. The client signs with its own key, of which this server knows the
public part only; or with its secret, which is never sent. An assertion is good once: its `jti` is spent in
the request's transaction, and stays spent when the request is refused for another reason.
"""

from collections.abc import Iterator

from joserfc.jwk import OctKey

import store.spent_assertions
from client_auth import client_keys
from client_auth.client_secret import QueryClient, note_use
from crypto import jwt
from crypto.json_values import JsonObject
from errors import InvalidJwtError
from middleware.endpoint_policy import advertised_paths
from protocol import client_assertion, clock
from protocol.auth_methods import CLIENT_SECRET_JWT, PRIVATE_KEY_JWT
from protocol.registered_client import RegisteredClient
from services.current import issuer, keyring
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request
from unit_of_work import after_rollback

ALGORITHMS = {PRIVATE_KEY_JWT: jwt.ASYMMETRIC, CLIENT_SECRET_JWT: jwt.SYMMETRIC}


def authenticate_private_key(query_client: QueryClient, request: OAuth2Request) -> RegisteredClient | None:
    """Return the client whose registered key has signed `client_assertion`, or None."""
    return authenticate(PRIVATE_KEY_JWT, query_client, request)


def authenticate_client_secret(query_client: QueryClient, request: OAuth2Request) -> RegisteredClient | None:
    """Return the client whose secret has signed `client_assertion`, or None."""
    return authenticate(CLIENT_SECRET_JWT, query_client, request)


def authenticate(method: str, query_client: QueryClient, request: OAuth2Request) -> RegisteredClient | None:
    """Return the client that has signed by one method, or None, and spend the assertion.

    A `client_id` in the body must be the one of the assertion (RFC 7521 §4.2).
    """
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
        return None  # the caller answers 429, as for any client that failed too often
    except InvalidJwtError as error:
        set_reason(Reason.WRONG_ASSERTION, detail=str(error))
        return None
    return client


def verify(assertion: str, method: str, client: RegisteredClient) -> JsonObject:
    """Return the claims of an assertion that this client has signed. Raises InvalidJwtError.

    The claims are checked before the signature, so that no key is fetched for an assertion that is not good.
    """
    claims = jwt.read_unverified(assertion)
    client_assertion.check_claims(claims, client.client_id, audiences_of(client), clock.now())
    registered = client.member("token_endpoint_auth_signing_alg")
    algorithms = [alg for alg in ALGORITHMS[method] if registered in (None, alg)]
    if method == CLIENT_SECRET_JWT:
        return verify_with_secrets(assertion, client, algorithms)
    return jwt.decode(assertion, client_keys.find(client, assertion), algorithms, client_assertion.TYP)


def audiences_of(client: RegisteredClient) -> set[str]:
    """Return what an assertion of this client may have as `aud`: the issuer.

    The token endpoint too for a client that is registered so (`assertion_audience`): some know no other.
    """
    audiences = {str(issuer)}
    if client.member("assertion_audience") == "token_endpoint":
        audiences.add(f"{issuer}{advertised_paths()['token_endpoint']}")
    return audiences


def verify_with_secrets(assertion: str, client: RegisteredClient, algorithms: list[str]) -> JsonObject:
    """Return the claims of an assertion that one of the client's live secrets has signed.

    Raises InvalidJwtError.
    """
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


def secrets_of(client: RegisteredClient) -> Iterator[tuple[int, OctKey]]:
    """Yield the live secrets of a client as keys, each with its number.

    One that cannot be decrypted is left out: the server's secret key has changed.
    """
    for secret in client.live_secrets(clock.now()):
        opened = (
            keyring.client_secrets.decrypt(secret.sealed, client.client_id)
            if secret.sealed is not None
            else None
        )
        if opened:
            yield secret.number, OctKey.import_key(opened)


def spend(claims: JsonObject) -> None:
    """Spend an assertion, also if this request is refused. Raises InvalidJwtError if it was used before."""
    spent = client_assertion.digest_of_jti(claims), client_assertion.remember_until(claims), clock.now()
    if not store.spent_assertions.spend(*spent):
        raise InvalidJwtError("it was used before")
    after_rollback(store.spent_assertions.spend, *spent)
