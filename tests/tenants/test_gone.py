"""A tenant is removed by another process; this one still knows it, until it would store a row for it."""

import pytest

from services import tenants
from services.current import state_of
from services.tenant_state import entered
from tests.builders import basic
from unit_of_work import run_in_app

WHOSE = "/.well-known/openid-configuration"
MACHINE = {"grant_type": "client_credentials"}


def remove(issuer):
    with entered(state_of(issuer.app).home):
        run_in_app(issuer.app, lambda: tenants.remove(issuer.name))


def wait_a_second(app):
    """What was read is older than a second from now on."""
    known = state_of(app).tenants
    known._snapshot = known._snapshot._replace(read_at=known._snapshot.read_at - 1.1)


STORING = {
    "a key": lambda issuer: issuer.get("/oauth/jwks"),
    "a failure": lambda issuer: issuer.post("/oauth/token", data=MACHINE, auth=basic("robot")),
}


@pytest.mark.threat("T205")
@pytest.mark.parametrize("ask", STORING.values(), ids=STORING)
def test_the_first_row_that_is_refused_tells_that_the_tenant_is_gone(issuers, ask):
    home, *others = issuers
    for issuer in others:
        assert issuer.get("/login").status_code == 200
        remove(issuer)
        assert issuer.get("/login").status_code == 200
        if (answer := ask(issuer)).status_code == 503:  # the tenants were read less than a second ago
            wait_a_second(issuer.app)
            answer = ask(issuer)
        assert (answer.status_code, answer.json["error"]) == (404, "invalid_request")
        for path in ("/login", WHOSE, "/oauth/jwks", "/oauth/token"):
            assert issuer.get(path).status_code == (404 if issuer.path else 400)
        assert ask(home).status_code == 200
