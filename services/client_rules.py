"""What a client may be registered as (RFC 7591 §2): each broken rule is a `Problem`.

Every function takes a `Client` with all its columns filled, stored or not. What members without a column may
say is in `protocol/client_metadata.py`. `services/clients.py` registers and changes clients by these rules.
"""

import re
from collections.abc import Collection, Iterable, Iterator

import store.clients
from crypto.jwt import MINIMUM_SECRET_OCTETS
from database.columns import CLIENT_ID_LENGTH
from errors import FetchError, Problem
from models import Client
from protocol import auth_methods, client_metadata, clock, redirect_uris, typed_text
from protocol.scopes import OFFLINE_ACCESS, is_scope_token, split
from services.current import documents, keyring, server, settings
from services.problems import Code, problem
from unit_of_work import release_connection

MAXIMUM_SECRET_LENGTH = 255
VISIBLE = re.compile(r"[\x21-\x7E]+")


def find_problems(client: Client, new_scopes: Collection[str] = ()) -> Iterator[Problem]:
    """Return everything that is wrong with this registration, except with its sector document.

    new_scopes: scopes that are added together with the client.
    """
    if reason := typed_text.find_problem(client.client_name, typed_text.NAME_LENGTH):
        yield problem(Code.INVALID_CLIENT_NAME, reason=reason)
    if client.token_endpoint_auth_method not in server.client_auth_methods:
        method = client.token_endpoint_auth_method
        yield problem(Code.UNKNOWN_AUTH_METHOD, method=method, supported=list(server.client_auth_methods))
    if client.is_resource_server:
        yield from find_resource_server_problems(client)
    else:
        yield from find_grant_type_problems(client)
    yield from find_redirect_uri_problems(client)
    yield from find_scope_problems(client.scope, new_scopes)
    if client.is_public:
        yield from find_public_client_problems(client)
    yield from as_problems(client_metadata.find_problems(client, registration_policy()))


def as_problems(texts: Iterable[str]) -> Iterator[Problem]:
    """Return a problem for each text of `protocol/client_metadata.py`."""
    return (problem(Code.INVALID_CLIENT_METADATA, text=text) for text in texts)


def registration_policy() -> client_metadata.RegistrationPolicy:
    """Return the settings that the rules about members depend on."""
    return client_metadata.RegistrationPolicy(
        settings.is_development,
        settings.allow_private_addresses,
        settings.access_token_lifetime,
        settings.redirect_schemes,
    )


def find_resource_server_problems(client: Client) -> Iterator[Problem]:
    """Return what is wrong with a resource server: it introspects tokens and gets none."""
    if client.redirect_uris or client.extra_metadata.get("post_logout_redirect_uris"):
        yield problem(Code.RESOURCE_SERVER_WITH_REDIRECT_URI)
    if client.grant_types:
        yield problem(Code.RESOURCE_SERVER_WITH_GRANT_TYPE)
    if client.is_public:
        yield problem(Code.RESOURCE_SERVER_IS_PUBLIC)


def find_grant_type_problems(client: Client) -> Iterator[Problem]:
    """Return unknown grant types, and those that lack what they need."""
    supported = server.grant_types
    for grant_type in client.grant_types:
        if grant_type not in supported:
            yield problem(Code.UNKNOWN_GRANT_TYPE, grant_type=grant_type, supported=list(supported))
    has_code_grant = "authorization_code" in client.grant_types
    if has_code_grant and not client.redirect_uris:
        yield problem(Code.CODE_WITHOUT_REDIRECT_URI)
    if client.redirect_uris and not has_code_grant:
        yield problem(Code.REDIRECT_URI_WITHOUT_CODE)
    if "refresh_token" in client.grant_types and not has_code_grant:
        yield problem(Code.REFRESH_WITHOUT_CODE)


def find_redirect_uri_problems(client: Client) -> Iterator[Problem]:
    """Return the redirect URIs that may not be registered, each with the reason."""
    for uri in (*client.redirect_uris, *client.extra_metadata.get("post_logout_redirect_uris", ())):
        if reason := redirect_uris.find_problem(uri, settings.redirect_schemes):
            yield problem(Code.INVALID_REDIRECT_URI, uri=uri, reason=reason)


def find_scope_problems(scope: str, new_scopes: Collection[str]) -> Iterator[Problem]:
    """Return the words that cannot be scopes, and the scopes that nobody has added."""
    words = split(scope)
    for word in words:
        if not is_scope_token(word):
            yield problem(Code.INVALID_SCOPE, scope=word)
    wanted = [word for word in words if is_scope_token(word) and word not in {OFFLINE_ACCESS, *new_scopes}]
    for word in store.clients.unknown_scopes(wanted):
        yield problem(Code.UNKNOWN_SCOPE, scope=word)


def find_public_client_problems(client: Client) -> Iterator[Problem]:
    """Return what a public client lacks.

    Nothing but PKCE and rotation protects what it gets (OAuth 2.1 §4.3.1, §7.5).
    """
    if "client_credentials" in client.grant_types:
        yield problem(Code.PUBLIC_WITH_CLIENT_CREDENTIALS)
    if not client.require_pkce:
        yield problem(Code.PUBLIC_WITHOUT_PKCE)
    if not client.rotate_refresh_tokens:
        yield problem(Code.PUBLIC_WITHOUT_ROTATION)
    if client.refresh_retry_lifetime:
        yield problem(Code.PUBLIC_WITH_REFRESH_RETRY)


# ---- the sector document -----------------------------------------------------------------------------------


def find_sector_problems(client: Client) -> Iterator[Problem]:
    """Return what is wrong with the document at `sector_identifier_uri`.

    `fetch_sector_document` comes first: here the document is read from the cache, and rows may be locked.
    """
    uri = client.member("sector_identifier_uri")
    if uri is None or client_metadata.problem_of_member("sector_identifier_uri", uri, registration_policy()):
        return
    try:
        document = documents.get(uri).content
    except FetchError as error:
        yield problem(Code.INVALID_CLIENT_METADATA, text=f"sector_identifier_uri: {error}")
        return
    if text := client_metadata.problem_of_sector(document, client.redirect_uris):
        yield problem(Code.INVALID_CLIENT_METADATA, text=text)


def fetch_sector_document(client: Client) -> None:
    """Fetch the sector document into the cache: before any lock and without a connection, as it may be slow.

    `find_sector_problems` tells later what is wrong with it.
    """
    if client.member("sector_identifier_uri") is not None:
        release_connection()
        list(find_sector_problems(client))


# ---- identifiers and secrets -------------------------------------------------------------------------------


def find_client_id_problems(client_id: str) -> Iterator[Problem]:
    """Return what is wrong with a client_id that somebody chose."""
    if len(client_id) > CLIENT_ID_LENGTH or not typed_text.IDENTIFIER.fullmatch(client_id):
        yield problem(Code.INVALID_CLIENT_ID, client_id=client_id, maximum=CLIENT_ID_LENGTH)


def find_secret_problems(client: Client, client_secret: str) -> Iterator[Problem]:
    """Return what is wrong with a secret that somebody chose for this client."""
    if client.is_public:
        yield problem(Code.PUBLIC_WITH_SECRET)
    if client.token_endpoint_auth_method == auth_methods.PRIVATE_KEY_JWT:
        yield problem(Code.OWN_KEYS_WITH_SECRET)
    minimum = minimum_signing_secret(client, max(MINIMUM_SECRET_OCTETS.values()))
    if len(client_secret) < minimum:
        yield problem(Code.SIGNING_SECRET_TOO_SHORT, minimum=minimum)
    if len(client_secret) > MAXIMUM_SECRET_LENGTH or not VISIBLE.fullmatch(client_secret):
        yield problem(Code.INVALID_SECRET, maximum=MAXIMUM_SECRET_LENGTH)


def minimum_signing_secret(client: Client, default: int) -> int:
    """Return how many octets the client's secret needs as a key of signatures (RFC 7518 §3.2); else 0.

    default: for a client that is registered for no algorithm.
    """
    if client.token_endpoint_auth_method != auth_methods.CLIENT_SECRET_JWT:
        return 0
    alg = client.member("token_endpoint_auth_signing_alg")
    return MINIMUM_SECRET_OCTETS.get(alg, default) if isinstance(alg, str) else default


def find_signing_secret_problems(client: Client) -> Iterator[Problem]:
    """Return the problem that a stored secret is too short for the algorithm that is registered now."""
    minimum = minimum_signing_secret(client, 0)
    if not minimum:
        return
    cipher, encrypted = keyring.client_secrets, [secret.sealed for secret in client.live_secrets(clock.now())]
    secrets = [cipher.decrypt(value, client.client_id) for value in encrypted if value is not None]
    shortest = min((len(secret) for secret in secrets if secret is not None), default=minimum)
    if shortest < minimum:
        yield problem(
            Code.ALG_NEEDS_LONGER_SECRET,
            alg=client.member("token_endpoint_auth_signing_alg"),
            minimum=minimum,
            length=shortest,
            client_id=client.client_id,
        )
