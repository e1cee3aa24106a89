"""No credential of one issuer is anything at another, though person, clients and secrets are the same there;
and each still works at its own afterwards.
"""

import secrets
from collections import Counter

import pytest

from models import Token, User
from services import clients
from tests import jose
from tests.builders import (
    CHALLENGE,
    CLIENT_SECRET,
    PASSWORD,
    REDIRECT_URI,
    basic,
    code_request,
    refresh_request,
)
from tests.jose import assertion_claims, with_assertion
from tests.pages.steps import EMAIL, authorization_path, follow, page, press, ticket_of
from tests.statements import select
from tests.tenants.conftest import FAILURES, SIGN_UPS
from tests.tenants.issuers import BACK, KEY, SCOPE, pairs

MACHINE = {"grant_type": "client_credentials"}


def is_refused(answer, status, error):
    assert (answer.status_code, answer.json["error"]) == (status, error)
    return True


def is_unknown_token(answer):
    assert answer.status_code == 401 and 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    return True


# ---- at the token endpoint ---------------------------------------------------------------------------------


@pytest.mark.threat("T199")
def test_authorization_code(issuers):
    answers = {issuer: issuer.browser().sign_in().authorize() for issuer in issuers}
    for one, other in pairs(issuers):
        answer = other.post("/oauth/token", data=code_request(answers[one]["code"]), auth=basic())
        assert is_refused(answer, 400, "invalid_grant")
    for issuer, answer in answers.items():
        assert answer["iss"] == issuer.address  # RFC 9207
        taken = issuer.post("/oauth/token", data=code_request(answer["code"]), auth=basic())
        assert taken.status_code == 200
        assert issuer.with_token(taken.json["access_token"]).status_code == 200
        again = issuer.post("/oauth/token", data=code_request(answer["code"]), auth=basic())
        assert is_refused(again, 400, "invalid_grant")


@pytest.mark.threat("T199")
def test_a_code_that_is_replayed_elsewhere_ends_nothing(issuers):
    """At its own issuer a second use revokes the tokens (RFC 6749 §4.1.2)."""
    for one, other in pairs(issuers):
        code = one.browser().sign_in().authorize()["code"]
        tokens = one.post("/oauth/token", data=code_request(code), auth=basic()).json
        assert is_refused(
            other.post("/oauth/token", data=code_request(code), auth=basic()), 400, "invalid_grant"
        )
        assert one.with_token(tokens["access_token"]).status_code == 200


@pytest.mark.threat("T199")
@pytest.mark.parametrize("client_id", ["web", "jwt"], ids=["opaque", "JWT"])
def test_access_token(issuers, client_id):
    tokens = {issuer: issuer.tokens(client_id=client_id)["access_token"] for issuer in issuers}
    assert (tokens[issuers[0]].count(".") == 2) == (client_id == "jwt")
    for one, other in pairs(issuers):
        for path in ("/oauth/userinfo", "/api/me"):
            assert is_unknown_token(other.with_token(tokens[one], path))
        assert other.introspect(tokens[one]) == {"active": False}
        answer = other.post("/oauth/revoke", data={"token": tokens[one]}, auth=basic(client_id))
        assert answer.status_code == 200
    for issuer, token in tokens.items():
        assert issuer.with_token(token).json["sub"] == "sub-of-ada"
        assert issuer.with_token(token, "/api/me").status_code == 200
        said = issuer.introspect(token)
        assert (said["active"], said["iss"]) == (True, issuer.address)
        issuer.post("/oauth/revoke", data={"token": token}, auth=basic(client_id))
        assert is_unknown_token(issuer.with_token(token))


@pytest.mark.threat("T199")
def test_token_of_a_machine(issuers):
    tokens = {
        issuer: issuer.post("/oauth/token", data=MACHINE, auth=basic("robot")).json["access_token"]
        for issuer in issuers
    }
    for one, other in pairs(issuers):
        assert other.introspect(tokens[one]) == {"active": False}
    for issuer, token in tokens.items():
        assert issuer.introspect(token)["active"]


@pytest.mark.threat("T199")
def test_refresh_token(issuers):
    tokens = {issuer: issuer.tokens() for issuer in issuers}
    for one, other in pairs(issuers):
        token = tokens[one]["refresh_token"]
        answer = other.post("/oauth/token", data=refresh_request(token), auth=basic())
        assert is_refused(answer, 400, "invalid_grant")
        assert other.introspect(token) == {"active": False}
        for hint in ({}, {"token_type_hint": "refresh_token"}):
            assert other.post("/oauth/revoke", data={"token": token} | hint, auth=basic()).status_code == 200
    for issuer in issuers:  # no family was ended by what was presented
        assert issuer.with_token(tokens[issuer]["access_token"]).status_code == 200
        answer = issuer.post(
            "/oauth/token", data=refresh_request(tokens[issuer]["refresh_token"]), auth=basic()
        )
        assert answer.status_code == 200


@pytest.mark.threat("T199")
def test_a_refresh_token_that_was_replaced_is_no_reuse_elsewhere(issuers, stopped_clock):
    for one, other in pairs(issuers):
        first = one.tokens()
        second = one.post("/oauth/token", data=refresh_request(first["refresh_token"]), auth=basic()).json
        stopped_clock.sleep(3600)
        answer = other.post("/oauth/token", data=refresh_request(first["refresh_token"]), auth=basic())
        assert is_refused(answer, 400, "invalid_grant")
        answer = one.post("/oauth/token", data=refresh_request(second["refresh_token"]), auth=basic())
        assert answer.status_code == 200


@pytest.mark.threat("T200")
def test_client_secret(issuers, stopped_clock):
    for issuer in issuers:
        stopped_clock.sleep(3600)  # the failures of the round before are forgotten
        new = issuer.run(lambda: clients.rotate_secret("robot", overlap=0).client_secret)
        for other in issuers:
            for path, body in (
                ("token", MACHINE),
                ("introspect", {"token": "x"}),
                ("revoke", {"token": "x"}),
            ):
                answer = other.post(f"/oauth/{path}", data=body, auth=basic("robot", new))
                assert answer.status_code == (200 if other is issuer else 401)
        answer = issuer.post("/oauth/token", data=MACHINE, auth=basic("robot", CLIENT_SECRET))
        assert is_refused(answer, 401, "invalid_client")


@pytest.mark.threat("T200")
def test_client_assertion(issuers):
    """The same keys, `iss`, `sub` and `jti`: one assertion for each audience, good once there."""
    jti = secrets.token_hex(8)
    assertions = {
        issuer: jose.sign(assertion_claims("signer", aud=issuer.address, jti=jti), KEY) for issuer in issuers
    }
    for one, other in pairs(issuers):
        answer = other.post("/oauth/token", data=with_assertion(assertions[one], **MACHINE))
        assert is_refused(answer, 401, "invalid_client")
    for issuer, assertion in assertions.items():
        answers = [issuer.post("/oauth/token", data=with_assertion(assertion, **MACHINE)) for _ in range(2)]
        assert answers[0].status_code == 200, issuer.name
        assert is_refused(answers[1], 401, "invalid_client")


# ---- in the browser ----------------------------------------------------------------------------------------


@pytest.mark.threat("T201")
def test_session_cookie(issuers):
    signed_in = {issuer: issuer.browser().sign_in() for issuer in issuers}
    for one, other in pairs(issuers):
        assert one.cookie != other.cookie
        value = signed_in[one].cookies()[one.cookie]
        for name in (one.cookie, other.cookie):
            thief = other.browser()
            thief.plant(name, value)
            assert not thief.is_signed_in()
        assert not signed_in[one].at(other).is_signed_in()
    for browser in signed_in.values():
        assert browser.is_signed_in()


@pytest.mark.threat("T201")
def test_signing_in_and_out_at_one_is_nothing_at_the_others(issuers):
    """One browser, which is at all three."""
    here = issuers[0].browser()
    for issuer in issuers:
        here.at(issuer).sign_in()
    assert all(here.at(issuer).is_signed_in() for issuer in issuers)
    left = list(issuers)
    for issuer in issuers:
        press(here.at(issuer), here.at(issuer).get("/logout"), "Sign out")
        left.remove(issuer)
        assert [known for known in issuers if here.at(known).is_signed_in()] == left


@pytest.mark.threat("T201")
def test_browser_id_and_ticket(issuers):
    """A request that waits at one issuer is nobody's at another, even under its browser's own ids."""
    for one, other in pairs(issuers):
        browser = one.browser()
        ticket = ticket_of(follow(browser, browser.get(authorization_path())))
        elsewhere = other.browser()
        for name, value in browser.cookies().items():
            elsewhere.plant(other.cookie + name.removeprefix(one.cookie), value)
            elsewhere.plant(name, value)
        elsewhere.sign_in()
        shown = follow(elsewhere, elsewhere.get(f"/oauth/authorize?client_id=web&ticket={ticket}"))
        assert not any("code" in form.fields for form in page(shown).forms)
        assert "Allow" not in [button for form in page(shown).forms for button in form.buttons]
        browser.sign_in()
        shown = follow(browser, browser.get(f"/oauth/authorize?client_id=web&ticket={ticket}"))
        assert page(shown).headings == ["Notebook asks for access"]


@pytest.mark.threat("T201")
def test_csrf_token(issuers):
    for one, other in pairs(issuers):
        browser = one.browser().sign_in()
        token = page(browser.get("/logout")).form("Sign out").fields["csrf_token"]
        victim = other.browser().sign_in()
        form = page(victim.get("/logout")).form("Sign out")
        answer = victim.post(form.url, data=form.filled("Sign out") | {"csrf_token": token})
        assert answer.status_code == 400
        assert victim.is_signed_in()
        press(victim, victim.get("/logout"), "Sign out")
        assert not victim.is_signed_in()
        assert browser.is_signed_in()


@pytest.mark.threat("T200")
def test_id_token_hint(issuers):
    hints = {issuer: issuer.tokens()["id_token"] for issuer in issuers}
    for one, other in pairs(issuers):
        browser = other.browser().sign_in()
        answer = browser.get(
            "/oauth/logout", query_string={"id_token_hint": hints[one], "post_logout_redirect_uri": BACK}
        )
        assert answer.status_code == 400 and page(answer).headings == ["This link does not work"]
        assert browser.is_signed_in()
        browser.authorize()
        answer = browser.authorize(prompt="none", id_token_hint=hints[one])
        assert (answer["error"], answer["iss"]) == ("invalid_request", other.address)
        assert "code" in browser.authorize(prompt="none", id_token_hint=hints[other])
    for issuer in issuers:
        query = {"id_token_hint": hints[issuer], "post_logout_redirect_uri": BACK}
        assert issuer.browser().get("/oauth/logout", query_string=query).headers["Location"] == BACK


@pytest.mark.threat("T200")
def test_request_object(issuers):
    for one, other in pairs(issuers):
        browser = other.browser().sign_in()
        for audience in (one, other):
            claims = {
                "iss": "web",
                "aud": audience.address,
                "client_id": "web",
                "response_type": "code",
                "redirect_uri": REDIRECT_URI,
                "scope": SCOPE,
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
                "exp": assertion_claims()["exp"],
            }
            envelope = dict.fromkeys(("code_challenge", "code_challenge_method", "state"))
            answer = browser.authorize(request=jose.sign(claims, KEY), **envelope)
            assert answer["iss"] == other.address
            if audience is one:
                assert answer["error"] == "invalid_request_object"
            else:
                assert "code" in answer


@pytest.mark.threat("T201")
def test_known_device(issuers):
    """Strangers have used up what an account allows; its user gets in on a device that this issuer knows."""
    devices = {issuer: issuer.browser().sign_in().cookies()[f"{issuer.cookie}-device"] for issuer in issuers}
    for issuer in issuers:
        assert set(attempts(issuer.browser(), FAILURES + 1)) == {400, 429}
    for one, other in pairs(issuers):
        browser = other.browser()
        browser.plant(f"{other.cookie}-device", devices[one])
        browser.plant(f"{one.cookie}-device", devices[one])
        assert attempts(browser, 1, PASSWORD) == [429]
    for issuer in issuers:
        browser = issuer.browser()
        browser.plant(f"{issuer.cookie}-device", devices[issuer])
        assert attempts(browser, 1, PASSWORD) == [303]


# ---- what one knows and the other does not -----------------------------------------------------------------


@pytest.mark.threat("T201")
def test_consent_is_each_ones_own(issuers):
    here = issuers[0].browser()
    for issuer in issuers:
        browser = here.at(issuer).sign_in()
        shown = follow(browser, browser.get(authorization_path(scope=SCOPE)))
        assert page(shown).headings == ["Notebook asks for access"]
        press(browser, shown, "Allow")
        answer = follow(browser, browser.get(authorization_path(scope=SCOPE)))
        assert answer.status_code == 303 and "code=" in answer.headers["Location"]


def test_one_token_for_each(issuers):
    """One session is allowed: a sign-in at one issuer replaces no token of another."""
    for _ in range(2):
        tokens = {issuer: issuer.tokens() for issuer in issuers}
        for issuer in issuers:
            assert issuer.with_token(tokens[issuer]["access_token"]).status_code == 200
    stored = issuers[0].rows(select(Token.tenant_id, Token.client_id).order_by(Token.tenant_id))
    assert stored == [(issuer.id, "web") for issuer in issuers]


# ---- throttles ---------------------------------------------------------------------------------------------


def attempts(browser, times, password="a wrong password"):
    """The status of so many sign-ins."""
    statuses = []
    for _ in range(times):
        form = page(browser.get("/login")).form("Sign in")
        filled = form.filled("Sign in", email=EMAIL, password=password)
        statuses.append(browser.post(form.url, data=filled).status_code)
    return statuses


@pytest.mark.threat("T203")
def test_failed_sign_ins_hold_up_nobody_elsewhere(issuers):
    """And they are counted at each: what another issuer counts takes nothing from it."""
    left = list(issuers)
    for issuer in issuers:
        assert attempts(issuer.browser(), FAILURES + 1) == [400] * FAILURES + [429]
        left.remove(issuer)
        assert [attempts(other.browser(), 1, PASSWORD) for other in left] == [[303]] * len(left)


@pytest.mark.threat("T203")
def test_failures_at_the_same_time_are_counted_at_each(issuers):
    answers = [attempts(issuer.browser(), 1) for _ in range(FAILURES) for issuer in issuers]
    assert answers == [[400]] * FAILURES * len(issuers)
    assert [attempts(issuer.browser(), 1) for issuer in issuers] == [[429]] * len(issuers)


@pytest.mark.threat("T203")
def test_failed_clients_hold_up_nobody_elsewhere(issuers):
    def fail(issuer):
        return issuer.post(
            "/oauth/token", data=MACHINE, auth=basic("robot", "ost_cs_" + "w" * 43)
        ).status_code

    assert [fail(issuer) for _ in range(FAILURES) for issuer in issuers] == [401] * FAILURES * len(issuers)
    assert fail(issuers[0]) == 429
    for other in issuers[1:]:
        assert fail(other) == 429
        assert other.post("/oauth/token", data=MACHINE, auth=basic("robot")).status_code == 200


@pytest.mark.threat("T203")
def test_sign_ups_are_counted_at_each(issuers):
    for number in range(SIGN_UPS + 1):
        for issuer in issuers:
            browser = issuer.browser()
            form = page(browser.get("/signup")).form("Create account")
            filled = form.filled(
                "Create account", name="Nyx", email=f"new{number}@example.com", password=PASSWORD
            )
            answer = browser.post(form.url, data=filled)
            assert answer.status_code == (303 if number < SIGN_UPS else 429), issuer.name
    subs = issuers[0].rows(select(User.tenant_id, User.sub))
    assert Counter(tenant for tenant, _ in subs) == {issuer.id: SIGN_UPS + 1 for issuer in issuers}
    made = [sub for _, sub in subs if sub != "sub-of-ada"]
    assert len(set(made)) == SIGN_UPS * len(issuers)
