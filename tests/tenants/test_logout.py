"""The end of a session is told to the clients of its own issuer, in that issuer's name and with its keys."""

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from models import LogoutNotice
from outbound.logout_delivery import EVENT
from services.current import state_of
from tests.openid import ALGORITHMS, AllNames
from tests.pages.steps import press
from tests.receiver import receiving
from tests.statements import select
from tests.tenants.conftest import in_memory
from tests.tenants.issuers import three_issuers


@pytest.fixture
def told(apps, first_rows, stopped_clock, integration):
    """Three issuers with a client that wants to be told, at the same address; and who is told there."""
    with receiving() as receiver, in_memory(apps, first_rows, allow_private_addresses=True) as app:
        issuers = three_issuers(app)
        for issuer in issuers:
            issuer.change_client("web", backchannel_logout_uri=receiver.url("200"))
        yield issuers, receiver


@pytest.mark.threat("T202")
def test_logout_notices(told):
    issuers, receiver = told
    browsers = {issuer: issuer.browser().sign_in() for issuer in issuers}
    for browser in browsers.values():
        assert "code" in browser.authorize()
    delivery = state_of(issuers[0].app).delivery.sender
    for issuer, browser in browsers.items():
        receiver.received.clear()
        press(browser, browser.get("/logout"), "Sign out")
        assert issuer.rows(select(LogoutNotice.tenant_id).where(LogoutNotice.attempts == 0)) == [(issuer.id,)]
        assert delivery.deliver_due() == 1
        [notice] = receiver.received
        keys = KeySet.import_key_set(issuer.get("/oauth/jwks").json)
        claims = jwt.decode(notice.token, keys, registry=AllNames(algorithms=ALGORITHMS)).claims
        assert (claims["iss"], claims["aud"], claims["sub"]) == (issuer.address, "web", "sub-of-ada")
        assert list(claims["events"]) == [EVENT]


@pytest.mark.threat("T202")
def test_notices_of_all_at_once(told):
    """One delivery serves all; each token is its own issuer's."""
    issuers, receiver = told
    for issuer in issuers:
        browser = issuer.browser().sign_in()
        assert "code" in browser.authorize()
        press(browser, browser.get("/logout"), "Sign out")
    assert state_of(issuers[0].app).delivery.sender.deliver_due() == len(issuers)
    left = list(issuers)
    for notice in receiver.received:
        issuer = next(known for known in left if verifies(notice.token, known))
        left.remove(issuer)
    assert left == []


def verifies(token, issuer):
    keys = KeySet.import_key_set(issuer.get("/oauth/jwks").json)
    try:
        claims = jwt.decode(token, keys, registry=AllNames(algorithms=ALGORITHMS)).claims
    except Exception:
        return False
    assert claims["iss"] == issuer.address
    return True
