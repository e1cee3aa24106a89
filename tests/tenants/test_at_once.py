"""Two tenants with the same client, person and secrets, many requests of each at the same moment: each keeps
one row of its own, and none of the other's.
"""

import secrets
from collections import Counter

import pytest

from models import SpentAssertion, Throttle, Token, db
from testing.races.workers import Call
from tests import jose
from tests.flows.driving import CONNECTIONS, OURS, Connections, ask, send
from tests.flows.races import without_trouble
from tests.jose import assertion_claims, with_assertion
from tests.live import ENGINES, new_database
from tests.statements import delete, select
from tests.tenants.issuers import KEY
from tests.tenants.live import CLIENT, at, codes, scene_on

pytestmark = [pytest.mark.integration, pytest.mark.long_on("sqlite", "mariadb")]


@pytest.fixture(scope="module", params=ENGINES)
def scene(request, tmp_path_factory, servers):
    folder = tmp_path_factory.mktemp("at_once")
    with scene_on(new_database(request.param, folder, servers), folder) as scene:
        scene.both = [scene.add("acme"), scene.add("beta")]
        yield scene


@pytest.fixture
def connections(scene):
    connections = Connections(scene.server.port, 2 * CONNECTIONS)
    with without_trouble(scene.server):
        yield connections
    connections.close()
    with scene.app.app_context():
        for model in (Token, Throttle, SpentAssertion):
            db.session.execute(delete(model))
        db.session.commit()


def together(connections, of_both):
    """The answers of each, to requests that were sent alternately and at once."""
    calls = [call for two in zip(*of_both, strict=True) for call in two]
    answers = connections.at_once(calls)
    assert max(answer.status for answer in answers) < 500
    return answers[::2], answers[1::2]


def is_live(connections, issuer, token):
    return send(connections.first, at(issuer, OURS.me(token))).status == 200


@pytest.mark.threat("T205")
def test_sign_ins(scene, connections):
    """One session is allowed. A code of one tenant is spent there alone."""
    of_both = [codes(issuer, [secrets.token_hex(8) for _ in range(CONNECTIONS)]) for issuer in scene.both]
    answers = together(connections, of_both)
    assert [{answer.status for answer in of_one} for of_one in answers] == [{200}, {200}]
    stored = scene.rows(select(Token.tenant_id, Token.client_id, Token.slot).order_by(Token.tenant_id))
    assert stored == [(issuer.id, CLIENT, 0) for issuer in scene.both]
    for issuer, other, of_one in zip(scene.both, scene.both[::-1], answers, strict=True):
        tokens = [answer.json["access_token"] for answer in of_one]
        assert [is_live(connections, issuer, token) for token in tokens].count(True) == 1
        assert not any(is_live(connections, other, token) for token in tokens)


@pytest.mark.threat("T205")
def test_refreshes(scene, connections):
    """All requests of one tenant get one pair, which is nothing at the other."""
    first = [send(connections.first, codes(issuer, [secrets.token_hex(8)])[0]).json for issuer in scene.both]
    of_both = [
        [at(issuer, OURS.refresh(CLIENT, tokens["refresh_token"]))] * CONNECTIONS
        for issuer, tokens in zip(scene.both, first, strict=True)
    ]
    answers = together(connections, of_both)
    pairs = [{answer.json["access_token"] for answer in of_one} for of_one in answers]
    assert [len(tokens) for tokens in pairs] == [1, 1] and pairs[0] != pairs[1]
    for issuer, other, tokens in zip(scene.both, scene.both[::-1], pairs, strict=True):
        [token] = tokens
        assert is_live(connections, issuer, token) and not is_live(connections, other, token)


@pytest.mark.threat("T199")
def test_the_refresh_token_of_one_at_both(scene, connections):
    """The other refuses it each time, and that ends nothing."""
    acme, beta = scene.both
    tokens = send(connections.first, codes(acme, [secrets.token_hex(8)])[0]).json
    of_both = [
        [at(issuer, OURS.refresh(CLIENT, tokens["refresh_token"]))] * CONNECTIONS for issuer in scene.both
    ]
    mine, others = together(connections, of_both)
    assert Counter(answer.error for answer in others) == {"invalid_grant": CONNECTIONS}
    [token] = {answer.json["access_token"] for answer in mine}
    assert is_live(connections, acme, token)


@pytest.mark.threat("T200")
def test_one_jti(scene, connections):
    """It is good once at each tenant."""
    jti = secrets.token_hex(8)
    of_both = []
    for issuer in scene.both:
        assertion = jose.sign(assertion_claims("signer", aud=issuer.address, jti=jti), KEY)
        form = with_assertion(assertion, grant_type="client_credentials")
        of_both.append([at(issuer, Call("POST", "/oauth/token", {}, form))] * CONNECTIONS)
    for of_one in together(connections, of_both):
        assert [answer.status for answer in of_one].count(200) == 1
        assert {answer.error for answer in of_one if answer.status != 200} == {"invalid_client"}
    stored = scene.rows(select(SpentAssertion.tenant_id).order_by(SpentAssertion.tenant_id))
    assert stored == [(issuer.id,) for issuer in scene.both]


@pytest.mark.threat("T203")
def test_failures(scene, connections):
    """Each tenant counts those of its own."""
    wrong = {"Authorization": "Basic d2ViOndyb25n"}  # web:wrong
    body = {"grant_type": "client_credentials"}
    call = Call("POST", "/oauth/token", wrong, body)
    few = CONNECTIONS // 2
    for of_one in together(connections, [[at(issuer, call)] * few for issuer in scene.both]):
        assert {answer.status for answer in of_one} == {401}
    counted = Counter(scene.rows(select(Throttle.tenant_id)))
    assert counted == {(issuer.id,): 2 for issuer in scene.both}
    for issuer in scene.both:
        left = [ask(connections.first, at(issuer, call)).status for _ in range(6)]
        assert left == [401] * 4 + [429] * 2, issuer.name
