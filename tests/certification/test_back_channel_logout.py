"""The modules of `oidcc-backchannel-rp-initiated-logout-certification-test-plan`; the notice goes to a real
server, over TLS.
"""

from urllib.parse import parse_qs

import pytest

from protocol import clock
from services.current import state_of
from tests.certification import conditions
from tests.certification.relying_party import DISCOVERY_URL, SIGNED_OUT, random_text
from tests.web import Tls, WebServer, http_answer

DAY = 24 * 3600
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.mark.certification("oidcc-backchannel-logout-discovery-endpoint-verification")
def test_oidcc_backchannel_logout_discovery_endpoint_verification(http):
    metadata = http.get(DISCOVERY_URL).json
    assert metadata["backchannel_logout_supported"] is True
    assert metadata["backchannel_logout_session_supported"] is True
    assert "end_session_endpoint" in metadata
    for name in [name for name in metadata if name.endswith("_endpoint")]:
        conditions.check_address(metadata[name])


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    """The client's server at https://localhost; `versions` are those of TLS that it was called with."""
    tls = Tls(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))

    def take(connection):
        receiver.versions.append(connection.version())
        connection.sendall(http_answer(b"", Cache_Control="no-store"))

    with WebServer(take, tls) as receiver:
        receiver.versions = []
        yield receiver


@pytest.fixture
def client(client, receiver, flask):
    """Registered with the receiver's address."""
    address = f'backchannel_logout_uri="https://localhost:{receiver.port}/backchannel_logout"'
    required = "backchannel_logout_session_required=true"
    assert flask("clients", "set", client.client_id, "--set", address, "--set", required).exit_code == 0
    return client


@pytest.mark.certification("oidcc-backchannel-rp-initiated-logout")
def test_oidcc_backchannel_rp_initiated_logout(app, client, receiver):
    signed_in = client.sign_in(state=random_text(128))
    state = random_text(30)
    hint = signed_in.tokens["id_token"]
    visit = client.log_out(id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT, state=state)
    assert (visit.destination, visit.parameters) == (SIGNED_OUT, {"state": state})
    assert state_of(app).delivery.sender.deliver_due() == 1

    [request] = receiver.requests
    assert receiver.versions == ["TLSv1.3"]
    check_logout_token(client, read_token(request), signed_in.claims)

    answered = client.authorize(prompt="none", state=random_text(128))
    conditions.check_error_response(answered, conditions.NEEDS_A_PAGE)


def read_token(request):
    """Of the one parameter of a form that was posted (Back-Channel Logout §2.5)."""
    head, _blank, body = request.decode().partition("\r\n\r\n")
    request_line, *fields = head.split("\r\n")
    assert request_line == "POST /backchannel_logout HTTP/1.1"
    assert "Content-Type: application/x-www-form-urlencoded" in fields
    form = parse_qs(body, strict_parsing=True)
    assert form.keys() == {"logout_token"}
    [token] = form["logout_token"]
    return token


def check_logout_token(client, token, id_token):
    """Back-Channel Logout §2.4."""
    _header, claims = conditions.check_signature(client, token, typ="logout+jwt")
    assert claims["iss"] == client.metadata["issuer"]
    assert claims["aud"] in (client.client_id, [client.client_id])
    assert clock.now() - DAY <= claims["iat"] <= clock.now() + conditions.SKEW
    assert isinstance(claims["jti"], str) and claims["jti"]
    assert claims["events"] == {EVENT: {}}
    assert (claims["sub"], claims["sid"]) == (id_token["sub"], id_token["sid"])
    assert "nonce" not in claims
