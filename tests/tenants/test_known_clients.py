"""A client that a process keeps for a few seconds is that of one issuer, whatever its name is."""

import pytest

from crypto.credentials import digest
from models import Client, db
from services import clients
from services.current import state_of
from tests.builders import basic
from tests.statements import update
from tests.tenants.conftest import in_memory
from tests.tenants.issuers import three_issuers

MACHINE = {"grant_type": "client_credentials"}


@pytest.fixture
def issuers(apps, first_rows, stopped_clock):
    with in_memory(apps, first_rows, client_cache_lifetime=5) as app:
        yield three_issuers(app)


def asked(issuer, secret):
    return issuer.post("/oauth/token", data=MACHINE, auth=basic("robot", secret)).status_code


@pytest.mark.threat("T197")
def test_each_issuer_keeps_its_own(issuers):
    for issuer in issuers:
        own = update(Client).where(Client.tenant_id == issuer.id, Client.client_id == "robot")
        with issuer.app.app_context():
            columns = {"client_secret_digest": digest(issuer.name), "scope": f"read {issuer.name}"}
            db.session.execute(own.values(columns))
            db.session.commit()
    for _ in range(2):  # read, and kept
        for issuer in issuers:
            assert [asked(issuer, other.name) for other in issuers] == [
                200 if other is issuer else 401 for other in issuers
            ]
            answer = issuer.post("/oauth/token", data=MACHINE, auth=basic("robot", issuer.name))
            assert answer.json["scope"] == f"read {issuer.name}"
    kept = state_of(issuers[0].app).client_cache._kept
    assert sorted(kept) == [(issuer.id, "robot") for issuer in issuers]


@pytest.mark.threat("T197")
def test_a_change_at_one_is_none_at_another(issuers):
    home, acme, beta = issuers
    before = {issuer: issuer.post("/oauth/token", data=MACHINE, auth=basic("robot")) for issuer in issuers}
    assert [answer.status_code for answer in before.values()] == [200, 200, 200]
    acme.run(lambda: clients.remove("robot"))
    assert sorted(state_of(home.app).client_cache._kept) == [(home.id, "robot"), (beta.id, "robot")]
    after = [issuer.post("/oauth/token", data=MACHINE, auth=basic("robot")) for issuer in issuers]
    assert [answer.status_code for answer in after] == [200, 401, 200]
