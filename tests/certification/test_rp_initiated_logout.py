"""The modules of `oidcc-rp-initiated-logout-certification-test-plan`, one test each, in the plan's order.

What the suite leaves to a screenshot is looked at. What it leaves open is decided here: a request that is
refused signs nobody out.
"""

import pytest

from protocol import clock
from tests import jose
from tests.certification import conditions
from tests.certification.relying_party import DISCOVERY_URL, SIGNED_OUT, random_text

STATE = (
    # all that may stand in one, but for the blank, the plus and the semicolon
    "Az09-._~!\"#$%&'()*,/:<=>?@[\\]^`{|}"
)


@pytest.fixture
def hint(client):
    """Ada has signed in; the ID token of that."""
    return client.sign_in(state=random_text(128)).tokens["id_token"]


def check_signed_out(client):
    answered = client.authorize(prompt="none", state=random_text(128))
    conditions.check_error_response(answered, conditions.NEEDS_A_PAGE)
    assert answered.headings == []


def check_comes_back(visit, **parameters):
    """To the registered address, at once, with these parameters and no others."""
    assert visit.answer.status_code in (302, 303) and visit.destination == SIGNED_OUT
    assert visit.parameters == parameters
    assert visit.headings == []


def check_is_refused(client, visit):
    conditions.check_is_no_redirect(visit)
    client.sign_in_silently(prompt="none")


@pytest.mark.certification("oidcc-rp-initiated-logout-discovery-endpoint-verification")
def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(http):
    metadata = http.get(DISCOVERY_URL).json
    assert "end_session_endpoint" in metadata
    for name in [name for name in metadata if name.endswith("_endpoint")]:
        conditions.check_address(metadata[name])


@pytest.mark.certification("oidcc-rp-initiated-logout")
def test_oidcc_rp_initiated_logout(client, hint):
    visit = client.log_out(id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT, state=STATE)
    check_comes_back(visit, state=STATE)
    check_signed_out(client)


@pytest.mark.certification("oidcc-rp-initiated-logout-bad-post-logout-redirect-uri")
def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(client, hint):
    bad = "https://rp.example/bad_post_logout_redirect_uri"
    check_is_refused(client, client.log_out(id_token_hint=hint, post_logout_redirect_uri=bad, state=STATE))


@pytest.mark.certification("oidcc-rp-initiated-logout-modified-id-token-hint")
def test_oidcc_rp_initiated_logout_modified_id_token_hint(client, hint):
    header, (_signed_with, claims, _signature) = jose.segment({"alg": "none"}), hint.split(".")
    modified = f"{header}.{claims}."
    check_is_refused(
        client, client.log_out(id_token_hint=modified, post_logout_redirect_uri=SIGNED_OUT, state=STATE)
    )


@pytest.mark.certification("oidcc-rp-initiated-logout-no-id-token-hint")
def test_oidcc_rp_initiated_logout_no_id_token_hint(client, hint):
    check_is_refused(client, client.log_out(post_logout_redirect_uri=SIGNED_OUT, state=STATE))


def check_signed_out_by_our_own_page(client, visit):
    assert visit.answer.status_code == 200 and visit.headings[-1] == "You are signed out"
    check_signed_out(client)


@pytest.mark.certification("oidcc-rp-initiated-logout-no-params")
def test_oidcc_rp_initiated_logout_no_params(client, hint):
    visit = client.log_out()
    assert visit.headings[0] == "Sign out?"
    check_signed_out_by_our_own_page(client, visit)


@pytest.mark.certification("oidcc-rp-initiated-logout-no-post-logout-redirect-uri")
def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(client, hint):
    check_signed_out_by_our_own_page(client, client.log_out(id_token_hint=hint, state=STATE))


@pytest.mark.certification("oidcc-rp-initiated-logout-no-state")
def test_oidcc_rp_initiated_logout_no_state(client, hint):
    check_comes_back(client.log_out(id_token_hint=hint, post_logout_redirect_uri=SIGNED_OUT))
    check_signed_out(client)


@pytest.mark.certification("oidcc-rp-initiated-logout-only-state")
def test_oidcc_rp_initiated_logout_only_state(client, hint):
    visit = client.log_out(state=STATE)
    assert visit.headings[0] == "Sign out?"
    check_signed_out_by_our_own_page(client, visit)


@pytest.mark.certification("oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri")
def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(client, hint):
    added = f"{SIGNED_OUT}?foo=bar"
    check_is_refused(client, client.log_out(id_token_hint=hint, post_logout_redirect_uri=added, state=STATE))


@pytest.mark.certification("oidcc-rp-initiated-logout-bad-id-token-hint")
@pytest.mark.parametrize("alg", ["RS256", "HS256"])  # a key that the client generated, and its secret
def test_oidcc_rp_initiated_logout_bad_id_token_hint(client, hint, alg):
    key = jose.key_for("RS256", None) if alg == "RS256" else jose.secret_key(client.secret)
    now = clock.now()
    claims = {
        "iss": client.client_id,
        "sub": "SubjectID",
        "aud": client.metadata["issuer"],
        "nonce": "flibble",
    }
    forged = jose.sign(claims | {"iat": now, "exp": now + 300}, key, alg)
    check_is_refused(
        client, client.log_out(id_token_hint=forged, post_logout_redirect_uri=SIGNED_OUT, state=STATE)
    )
