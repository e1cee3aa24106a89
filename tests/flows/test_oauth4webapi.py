"""Plain OAuth, judged by clients of others: npm's oauth4webapi and openid-client, all their checks on, on
each engine.

What they told of each step (`judges.py`) is compared here. `test_oauth4webapi_openid.py` is the same for
OpenID Connect.
"""

import pytest

from crypto import credentials
from models import Scope
from tests.builders import a_client, a_machine, a_public_client, a_user
from tests.flows.browser_journey import EMAIL
from tests.flows.driving import Driver
from tests.flows.judges import body_error, challenged, judged, sent_back

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

# ---- what each step has to come to -------------------------------------------------------------------------


def token_facts(scope, has_refresh_token):
    return {"token_type": "bearer", "expires_in": 600, "scope": scope, "has_refresh_token": has_refresh_token}


def same_tokens(both):
    return {"same_access_token": both, "same_refresh_token": both}


def activity(client_id, scope):
    """What introspection tells of a live access token."""
    return {"active": True, "client_id": client_id, "scope": scope, "token_type": "Bearer", "is_ours": True}


SCOPE = "profile email"
TOKENS_OF_A_PERSON = token_facts(SCOPE, has_refresh_token=True)
TOKEN_OF_A_MACHINE = token_facts("read", has_refresh_token=False)
INACTIVE = {"active": False}
ANSWER_WITH_A_CODE = ["code", "iss", "state"]
BAD_TOKEN = challenged(401, scheme="bearer", error="invalid_token")
NOT_FOR_MACHINES = challenged(403, scheme="bearer", error="insufficient_scope")
BAD_BASIC = challenged(401, scheme="basic")
BAD_CLIENT = body_error("invalid_client", 401)
BAD_GRANT = body_error("invalid_grant")


def sign_in(client_id):
    return {
        "authorize": ANSWER_WITH_A_CODE,
        "exchange": TOKENS_OF_A_PERSON,
        "use": {"email": EMAIL},
        "introspect": activity(client_id, SCOPE),
        "refresh": same_tokens(False),
        "refresh again": same_tokens(True),
        "use what was replaced": BAD_TOKEN,
        "refresh what came of it": same_tokens(False),
        "introspect what was replaced": INACTIVE,
        "revoke": "done",
        "revoke again": "done",
        "introspect what was revoked": INACTIVE,
        "use what was revoked": BAD_TOKEN,
        "refresh what was revoked": BAD_GRANT,
    }


def machine(client_id, other_secret):
    return {
        "ask": TOKEN_OF_A_MACHINE,
        "ask for a scope": TOKEN_OF_A_MACHINE,
        "introspect": activity(client_id, "read"),
        "introspect its own": activity(client_id, "read"),
        "use where a person is needed": NOT_FOR_MACHINES,
        "ask for a scope it may not have": body_error("invalid_scope"),
        "ask with another secret": other_secret,
        "introspect with another secret": other_secret,
        "revoke with another secret": other_secret,
        "revoke": "done",
        "introspect what was revoked": INACTIVE,
    }


OAUTH4WEBAPI = {
    "discovery": {"discover": "done"},
    "client_secret_basic": sign_in("web-basic"),
    "client_secret_post": sign_in("web-post"),
    "none": sign_in("spa"),
    "machine, client_secret_basic": machine("robot-basic", BAD_BASIC),
    "machine, client_secret_post": machine("robot-post", BAD_CLIENT),
    "refused authorization": {
        "the person denies": sent_back("access_denied"),
        "a scope it may not have": sent_back("invalid_scope"),
    },
    "refused codes": {
        "authorize": ANSWER_WITH_A_CODE,
        "an invented code": BAD_GRANT,
        "another verifier": BAD_GRANT,
        "another client": BAD_GRANT,
        "exchange": TOKENS_OF_A_PERSON,
        "the same code": BAD_GRANT,
        "use what it made": BAD_TOKEN,
    },
    "refused clients": {
        "authorize": ANSWER_WITH_A_CODE,
        "exchange": TOKENS_OF_A_PERSON,
        "refresh as a client that there is not": BAD_CLIENT,
        "refresh as another client": BAD_GRANT,
        "revoke as another client": BAD_GRANT,
        "introspect as a public client": BAD_CLIENT,
        "be a machine as a public client": BAD_CLIENT,
        "be a machine as a web client": body_error("unauthorized_client"),
        "introspect as another client": INACTIVE,
        "introspect a refresh token": INACTIVE,
        "use after all": {"email": EMAIL},
    },
}


def short_sign_in():
    return {
        "discover": "done",
        "authorize and exchange": TOKENS_OF_A_PERSON,
        "use": {"email": EMAIL},
        "refresh": TOKENS_OF_A_PERSON,
        "use what was replaced": BAD_TOKEN,
        "revoke": "done",
        "use what was revoked": BAD_TOKEN,
        "refresh what was revoked": BAD_GRANT,
    }


def short_machine(client_id):
    return {
        "discover": "done",
        "ask": TOKEN_OF_A_MACHINE,
        "introspect": {"active": True, "client_id": client_id},
        "use where a person is needed": NOT_FOR_MACHINES,
        "revoke": "done",
        "introspect what was revoked": INACTIVE,
    }


OPENID_CLIENT = {
    "client_secret_basic": short_sign_in(),
    "client_secret_post": short_sign_in(),
    "none": short_sign_in(),
    "machine, client_secret_basic": short_machine("robot-basic"),
    "machine, client_secret_post": short_machine("robot-post"),
    "denied": {"discover": "done", "the person denies": sent_back("access_denied")},
}

SCRIPTS = {"oauth4webapi.mjs": OAUTH4WEBAPI, "openid-client.mjs": OPENID_CLIENT}


# ---- the journeys ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clients(judged_server):
    """Clients of every kind, by their client_id, as they know themselves."""
    by_post = {"token_endpoint_auth_method": "client_secret_post"}
    rows = [
        a_client(client_id="web-basic"),
        a_client(client_id="web-post", **by_post),
        a_client(client_id="asker"),
        a_public_client(),
        a_machine(client_id="robot-basic"),
        a_machine(client_id="robot-post", **by_post),
        a_client(client_id="api", is_resource_server=True, grant_types=[], redirect_uris=[]),
    ]
    clients = {}
    for row in rows:
        client = {name: getattr(row, name) for name in ("client_id", "token_endpoint_auth_method", "scope")}
        if not row.is_public:
            client["client_secret"] = credentials.new_client_secret()
            row.client_secret_digest = credentials.digest(client["client_secret"])
        clients[row.client_id] = client
    with Driver(judged_server) as driver:
        driver.store(a_user(email=EMAIL), Scope(name="read", description="Read your notes"), *rows)
    return clients


test_step, test_every_step_is_compared = judged(SCRIPTS)
