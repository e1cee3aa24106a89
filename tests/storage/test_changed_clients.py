"""A client is changed at one node, while another still knows its row as it was. Two apps on one database are
two nodes: they share nothing but the rows.
"""

import pytest

from app import create_app
from config import Settings
from models import Client, Token, db
from services import client_cache, clients, tokens
from services.current import state_of
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.conftest import Browser
from tests.live import ENGINES, new_database
from tests.statements import delete, select
from unit_of_work import run_in_app, transaction

REFRESH_TOKEN = a_refresh_token()
MACHINE = {"grant_type": "client_credentials"}
AS_ROBOT = basic("robot")


@pytest.fixture(scope="module", params=ENGINES)
def both(request, tmp_path_factory, servers):
    url = new_database(request.param, tmp_path_factory.mktemp("changed_clients"), servers)
    found = [create_app(Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY)) for _ in range(2)]
    with found[0].app_context():
        db.create_all()
    yield found
    for app in found:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def pass_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(client_cache, "monotonic", lambda: now[0])

    def pass_time(seconds):
        now[0] += seconds

    return pass_time


@pytest.fixture
def here(both, pass_time):
    """The node that is asked. It knows both clients."""
    app = both[0]
    with app.app_context():
        with transaction():
            for table in reversed(db.metadata.sorted_tables):
                if table.name != "tenant":
                    db.session.execute(delete(table))
        for row in (a_user(), a_client(), a_machine(), a_code("one"), a_token(REFRESH_TOKEN)):
            with transaction():
                db.session.add(row)
        db.session.remove()
        state_of(app).client_cache.clear()
        assert state_of(app).client_cache.find("web") and state_of(app).client_cache.find("robot")
    return Browser(app, Browser(app).response_wrapper)


@pytest.fixture
def elsewhere(both):
    """Do something at the other node, committed."""
    return lambda work: run_in_app(both[1], work)


def rows(app, statement):
    with app.app_context():
        return db.session.execute(statement).all()


REQUESTS = {
    "client credentials": ({"data": MACHINE, "auth": AS_ROBOT}, 401, "invalid_client"),
    "code": ({"data": code_request("one"), "auth": basic()}, 400, "invalid_grant"),
    "refresh": ({"data": refresh_request(REFRESH_TOKEN), "auth": basic()}, 400, "invalid_grant"),
}


@pytest.mark.threat("T207")
@pytest.mark.parametrize("name", REQUESTS)
def test_a_client_that_is_removed_elsewhere_gets_no_token(name, here, elsewhere):
    request, status, error = REQUESTS[name]
    elsewhere(lambda: (clients.remove("robot"), clients.remove("web")))
    answer = here.post("/oauth/token", **request)
    assert (answer.status_code, answer.json["error"]) == (status, error)
    assert rows(here.application, select(Token.id)) == []
    assert rows(here.application, select(Client.client_id)) == []


@pytest.mark.threat("T207")
def test_it_may_ask_about_tokens_for_a_moment(here, elsewhere, pass_time):
    """And is told of none: its own went with it."""
    elsewhere(lambda: clients.remove("web"))
    assert here.post("/oauth/introspect", data={"token": "x"}, auth=basic()).json == {"active": False}
    pass_time(5)
    assert here.post("/oauth/introspect", data={"token": "x"}, auth=basic()).status_code == 401


@pytest.mark.threat("T207")
def test_a_client_that_is_there_again_has_its_new_secret_alone(here, elsewhere, pass_time):
    def again():
        clients.remove("robot")
        return clients.register(
            {"client_name": "Robot", "grant_types": ["client_credentials"], "scope": ""}, "robot"
        ).client_secret

    secret = elsewhere(again)
    assert here.post("/oauth/token", data=MACHINE, auth=basic("robot", secret)).status_code == 200
    assert here.post("/oauth/token", data=MACHINE, auth=AS_ROBOT).status_code == 401


@pytest.mark.threat("T207")
def test_a_secret_that_is_replaced_elsewhere(here, elsewhere, pass_time):
    def asked(secret):
        return here.post("/oauth/token", data=MACHINE, auth=basic("robot", secret)).status_code

    secret = elsewhere(lambda: clients.rotate_secret("robot").client_secret)
    assert asked(CLIENT_SECRET) == 200  # for five seconds
    pass_time(4.9)
    assert asked(CLIENT_SECRET) == 200
    pass_time(0.1)
    assert asked(CLIENT_SECRET) == 401
    assert asked(secret) == 200


@pytest.mark.threat("T207")
def test_tokens_that_are_revoked_elsewhere_end_at_once(here, elsewhere):
    answer = here.post("/oauth/token", data=MACHINE, auth=AS_ROBOT)
    token = {"data": {"token": answer.json["access_token"]}, "auth": AS_ROBOT}
    assert here.post("/oauth/introspect", **token).json["active"]
    elsewhere(lambda: tokens.revoke_of_client("robot"))
    assert here.post("/oauth/introspect", **token).json == {"active": False}


def test_a_registration_that_is_narrowed_elsewhere(here, elsewhere, pass_time):
    elsewhere(lambda: clients.change("robot", {"scope": ""}))
    assert here.post("/oauth/token", data=MACHINE, auth=AS_ROBOT).json["scope"] == "read"
    pass_time(5)
    assert "scope" not in here.post("/oauth/token", data=MACHINE, auth=AS_ROBOT).json
