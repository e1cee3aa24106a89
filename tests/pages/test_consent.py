"""The authorization endpoint as a person meets it: who asks, Allow, Deny, two tabs, and consent that is
remembered.
"""

import pytest
from sqlalchemy import func

import store.user_sessions
from models import AuthorizationCode, AuthorizationTicket, Client, Consent, db
from protocol import clock
from tests.builders import CHALLENGE, PASSWORD, REDIRECT_URI, a_client, a_user, basic, code_request
from tests.pages.steps import (
    EMAIL,
    answer_to_client,
    ask,
    authorization_path,
    follow,
    go,
    page,
    press,
    sign_in,
    sign_out,
    ticket_of,
)
from tests.statements import select, update
from unit_of_work import transaction

COUNT_CODES = select(func.count()).select_from(AuthorizationCode)
COUNT_TICKETS = select(func.count()).select_from(AuthorizationTicket)


@pytest.fixture
def ada(http, seed):
    """A browser that Ada is signed in with, and a client called Notebook."""
    seed(a_user(), a_client(client_name="Notebook", scope="profile email read"))
    sign_in(http)
    return http


def is_closed(answer):
    return answer.status_code == 400 and page(answer).headings == ["This request is no longer open"]


# ---- what the page says ------------------------------------------------------------------------------------


def test_it_says_who_asks_for_what_and_where_the_answer_goes(ada):
    shown = page(ask(ada, scope="email read"))
    assert shown.headings == ["Notebook asks for access"]
    assert "See your email address" in shown.text
    assert "Read your notes" in shown.text
    assert "See your name" not in shown.text
    assert "You go back to app.example" in shown.text
    assert "Your account Ada ada@example.com" in shown.text
    assert list(shown.form("Allow").buttons) == ["Allow", "Deny"]


@pytest.mark.threat("T024")
def test_what_was_shown_is_what_is_granted(ada, app, rows):
    """A registration that is widened between the page and the button widens nothing."""
    with app.app_context(), transaction():
        db.session.execute(update(Client).values(scope="profile"))
    shown = ask(ada, scope=None)
    with app.app_context(), transaction():
        db.session.execute(update(Client).values(scope="profile email"))
    answer_to_client(press(ada, shown, "Allow"))
    assert rows(select(AuthorizationCode.scope)) == [("profile",)]


def test_an_omitted_scope_means_the_registered_one_and_is_shown(ada, rows):
    shown = ask(ada, scope=None)
    assert all(
        words in page(shown).text for words in ("See your name", "See your email address", "Read your notes")
    )
    answer_to_client(press(ada, shown, "Allow"))
    assert rows(select(AuthorizationCode.scope)) == [("profile email read",)]


def test_offline_access_is_shown_in_words(ada):
    assert "Stay connected while you are away" in page(ask(ada, scope="offline_access")).text


def test_a_client_that_asks_for_nothing(http, seed):
    seed(a_user(), a_client(scope=""))
    sign_in(http)
    shown = ask(http, scope=None)
    assert "It asks for nothing but to know that you are you." in page(shown).text
    assert "code" in answer_to_client(press(http, shown, "Allow"))
    assert "code" in answer_to_client(ask(http, scope=None))


@pytest.mark.parametrize(
    ("redirect_uri", "words"),
    [
        ("https://app.example:8443/cb", "app.example:8443"),
        ("http://127.0.0.1:5000/cb", "127.0.0.1:5000 a program on this computer"),
        ("http://[::1]:5000/cb", "[::1]:5000 a program on this computer"),
        ("com.example.app:/cb", "com.example.app an application on this device"),
        ("com.example.app://accounts.example.com/cb", "com.example.app an application on this device"),
        ("https://localhost.example/cb", "localhost.example It will"),
    ],
)
def test_the_place_of_the_answer_in_words(http, seed, redirect_uri, words):
    seed(a_user(), a_client(redirect_uris=[redirect_uri]))
    sign_in(http)
    assert f"You go back to {words}" in page(ask(http, redirect_uri=redirect_uri)).text


@pytest.mark.threat("T024", "T102")
def test_the_form_holds_the_ticket_and_nothing_of_the_request(ada, rows):
    """What was shown is what is granted: there is nothing in the form that could be changed on the way."""
    shown = ask(ada)
    assert set(page(shown).form("Allow").fields) == {"account", "client_id", "csrf_token", "ticket"}
    form = page(shown).form("Allow").filled("Allow")
    more = {
        "scope": "profile email read",
        "redirect_uri": "https://evil.example",
        "state": "other",
        "client_id": "x",
    }
    members = answer_to_client(ada.post("/oauth/authorize", data=form | more))
    assert members["state"] == ["the state"]
    assert rows(select(AuthorizationCode.scope)) == [("profile",)]


# ---- Allow and Deny ----------------------------------------------------------------------------------------


@pytest.mark.threat("T027")
def test_allow_gives_a_code_that_becomes_a_token(ada, rows):
    members = answer_to_client(press(ada, ask(ada), "Allow"))
    assert set(members) == {"code", "state", "iss"}
    assert all(len(values) == 1 for values in members.values())
    assert members["state"] == ["the state"]
    assert rows(select(AuthorizationCode.code_challenge)) == [(CHALLENGE,)]
    answer = ada.post("/oauth/token", data=code_request(members["code"][0]), auth=basic())
    assert (answer.status_code, answer.json["scope"]) == (200, "profile")


@pytest.mark.threat("T027", "T102")
def test_deny_tells_the_client_and_spends_the_ticket(ada, rows):
    shown = ask(ada)
    members = answer_to_client(press(ada, shown, "Deny"))
    assert members["error"] == ["access_denied"]
    assert members["state"] == ["the state"]
    assert set(members) <= {"error", "error_description", "state", "iss"}
    assert rows(COUNT_CODES) == rows(COUNT_TICKETS) == [(0,)]
    assert is_closed(press(ada, shown, "Allow"))
    assert rows(COUNT_CODES) == [(0,)]


def test_deny_is_not_remembered(ada, rows):
    press(ada, ask(ada), "Deny")
    assert rows(select(Consent.scope)) == []
    assert "Allow" in page(ask(ada)).form("Allow").buttons


@pytest.mark.parametrize("decision", [None, "", "ALLOW", "yes", "allow "])
def test_anything_else_is_no_decision(ada, rows, decision):
    form = page(ask(ada)).form("Allow").filled("Allow")
    del form["decision"]
    answer = ada.post("/oauth/authorize", data=form | ({} if decision is None else {"decision": decision}))
    assert (answer.status_code, rows(COUNT_CODES), rows(COUNT_TICKETS)) == (400, [(0,)], [(1,)])


STATES = ["x", "ä ö+ü%26&=/?#", "a" * 4_000, '"><script>', "%00", " "]


@pytest.mark.threat("T028")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("button", ["Allow", "Deny"])
def test_state_comes_back_as_it_was(ada, state, button):
    assert answer_to_client(press(ada, ask(ada, state=state), button))["state"] == [state]


@pytest.mark.threat("T028")
@pytest.mark.parametrize("button", ["Allow", "Deny"])
def test_no_state_no_state(ada, button):
    assert "state" not in answer_to_client(press(ada, ask(ada, state=None), button))


def test_a_registered_query_is_kept(http, seed):
    seed(a_user(), a_client(redirect_uris=["https://app.example/cb?a=b%2Fc"]))
    sign_in(http)
    answer = press(http, ask(http, redirect_uri="https://app.example/cb?a=b%2Fc"), "Allow")
    assert answer.headers["Location"].startswith("https://app.example/cb?a=b%2Fc&code=")


@pytest.mark.threat("T018")
def test_the_only_registered_uri_may_be_left_out(ada, rows):
    shown = ask(ada, redirect_uri=None)
    assert "You go back to app.example" in page(shown).text
    answer_to_client(press(ada, shown, "Allow"))
    assert rows(select(AuthorizationCode.redirect_uri)) == [(REDIRECT_URI,)]


# ---- tickets -----------------------------------------------------------------------------------------------


@pytest.mark.threat("T100", "T102")
def test_a_ticket_is_spent_once(ada, rows):
    shown = ask(ada)
    in_another_tab = ada.get(f"/oauth/authorize?ticket={ticket_of(shown)}")
    answer_to_client(press(ada, shown, "Allow"))
    assert is_closed(press(ada, in_another_tab, "Allow"))
    assert is_closed(press(ada, in_another_tab, "Deny"))
    assert is_closed(ada.get(f"/oauth/authorize?ticket={ticket_of(shown)}"))
    assert rows(COUNT_CODES) == [(1,)]


@pytest.mark.threat("T099", "T102")
def test_a_ticket_is_of_one_browser(ada, new_browser, rows):
    """Even of the same person: a link that was sent to somebody does not continue there."""
    ticket = ticket_of(ask(ada))
    other = new_browser()
    sign_in(other)
    assert is_closed(other.get(f"/oauth/authorize?ticket={ticket}"))
    form = page(ask(other)).form("Allow").filled("Allow") | {"ticket": ticket}
    assert is_closed(other.post("/oauth/authorize", data=form))
    assert rows(COUNT_CODES) == [(0,)]


@pytest.mark.threat("T100")
def test_a_decision_ends_with_the_session(ada, rows):
    """The request itself stays open in this browser: whoever signs in next is asked."""
    shown = ask(ada)
    sign_out(ada)
    assert press(ada, shown, "Allow").status_code == 400
    sign_in(ada)
    fresh = page(ask(ada)).form("Allow").filled("Allow")
    answer = ada.post("/oauth/authorize", data=fresh | {"ticket": ticket_of(shown)})
    assert answer.headers["Location"].endswith(ticket_of(shown))
    assert rows(COUNT_CODES) == [(0,)]
    assert "code" in answer_to_client(press(ada, follow(ada, answer), "Allow"))


def test_a_ticket_expires(ada, app):
    shown = ask(ada)
    with app.app_context(), transaction():
        db.session.execute(update(AuthorizationTicket).values(expires_at=clock.now()))
    assert is_closed(press(ada, shown, "Allow"))


@pytest.mark.threat("T102")
@pytest.mark.parametrize("ticket", ["", "x", "\0", "a" * 5_000, "é"])
def test_a_ticket_that_never_was(ada, ticket):
    form = page(ask(ada)).form("Allow").filled("Allow")
    assert is_closed(ada.post("/oauth/authorize", data=form | {"ticket": ticket}))
    assert ada.get("/oauth/authorize", query_string={"ticket": ticket}).status_code == 400


def test_what_a_client_may_do_is_looked_at_again_when_the_person_decides(ada, app, rows):
    """The redirect URI was taken from the client while the consent page was open."""
    shown = ask(ada)
    with app.app_context(), transaction():
        db.session.execute(update(Client).values(redirect_uris=["https://app.example/new"]))
    answer = press(ada, shown, "Allow")
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert rows(COUNT_CODES) == rows(select(func.count()).select_from(Consent)) == [(0,)]


@pytest.mark.threat("T101")
def test_two_tabs_each_get_their_own_answer(ada, seed, rows):
    seed(a_client(client_id="second", client_name="Second", redirect_uris=["https://second.example/cb"]))
    first = ask(ada, state="first")
    second = ask(
        ada, client_id="second", redirect_uri="https://second.example/cb", scope="email", state="second"
    )
    third = ask(ada, state="third", scope="read")
    members = answer_to_client(press(ada, second, "Allow"), "https://second.example/cb")
    assert members["state"] == ["second"]
    assert answer_to_client(press(ada, third, "Deny"))["state"] == ["third"]
    assert answer_to_client(press(ada, first, "Allow"))["state"] == ["first"]
    assert sorted(rows(select(AuthorizationCode.client_id, AuthorizationCode.scope))) == [
        ("second", "email"),
        ("web", "profile"),
    ]


@pytest.mark.threat("T101")
def test_two_tabs_before_the_sign_in(http, seed):
    """Both wait for a sign-in; it happens in one of them, and the other one goes on when it is reloaded."""
    seed(a_user(), a_client(scope="profile email"))
    first, second = ask(http, state="first"), ask(http, state="second", scope="email")
    shown = follow(http, press(http, first, "Sign in", email=EMAIL, password=PASSWORD))
    reloaded = http.get(second.request.full_path)
    (go_on,) = [
        link["href"] for link in page(reloaded).all("a") if link["href"].startswith("/oauth/authorize")
    ]
    other = http.get(go_on)
    assert answer_to_client(press(http, other, "Allow"))["state"] == ["second"]
    assert answer_to_client(press(http, shown, "Allow"))["state"] == ["first"]


# ---- another account ---------------------------------------------------------------------------------------


@pytest.mark.threat("T097")
def test_another_account_goes_on_with_the_same_request(ada, seed, rows):
    seed(a_user(id=2, sub="b", email="bo@example.com", name="Bo"))
    kept, left = ask(ada, state="kept"), ask(ada, state="left")
    shown = go(ada, kept, "Use another account")
    assert "to continue to Notebook at app.example" in page(shown).text
    shown = follow(ada, press(ada, shown, "Sign in", email="bo@example.com", password=PASSWORD))
    assert "Your account Bo bo@example.com" in page(shown).text
    assert answer_to_client(press(ada, shown, "Allow"))["state"] == ["kept"]
    assert rows(select(AuthorizationCode.user_id)) == [(2,)]
    still_of_ada = ada.get(f"/oauth/authorize?ticket={ticket_of(left)}")
    assert "Your account Ada" in page(still_of_ada).text


def test_a_decision_after_the_session_has_ended_asks_for_a_sign_in(ada, app, rows):
    """The session was ended elsewhere.

    The request waits, and the person sees the page again before it decides.
    """
    shown = ask(ada)
    with app.app_context(), transaction():
        store.user_sessions.delete_of_user(1)
    shown = follow(ada, press(ada, shown, "Allow"))
    assert rows(COUNT_CODES) == [(0,)]
    shown = follow(ada, press(ada, shown, "Sign in", email=EMAIL, password=PASSWORD))
    assert "code" in answer_to_client(press(ada, shown, "Allow"))


# ---- remembered consent ------------------------------------------------------------------------------------


def test_a_remembered_consent_goes_straight_through(ada, rows):
    answer_to_client(press(ada, ask(ada, scope="profile email"), "Allow"))
    for scope in ("profile email", "email profile", "email"):
        members = answer_to_client(ada.get(authorization_path(scope=scope, state="again")))
        assert set(members) == {"code", "state", "iss"}
    assert rows(COUNT_TICKETS) == [(0,)]


def test_more_is_asked_again_and_only_more_is_new(ada, rows):
    answer_to_client(press(ada, ask(ada, scope="email"), "Allow"))
    shown = ask(ada, scope="email read")
    assert "See your email address (allowed before)" in page(shown).text
    assert "Read your notes (allowed before)" not in page(shown).text
    answer_to_client(press(ada, shown, "Allow"))
    assert rows(select(Consent.scope)) == [("email read",)]
    assert "code" in answer_to_client(ask(ada, scope="read email"))


def test_a_deny_of_more_keeps_what_was_allowed(ada, rows):
    answer_to_client(press(ada, ask(ada, scope="email"), "Allow"))
    answer_to_client(press(ada, ask(ada, scope="email read"), "Deny"))
    assert rows(select(Consent.scope)) == [("email",)]
    assert "code" in answer_to_client(ask(ada, scope="email"))


@pytest.mark.threat("T097")
def test_consent_is_of_one_person_and_one_client(ada, new_browser, seed):
    seed(a_user(id=2, sub="b", email="bo@example.com"), a_client(client_id="second"))
    answer_to_client(press(ada, ask(ada), "Allow"))
    assert ask(ada, client_id="second").status_code == 200
    bo = new_browser()
    sign_in(bo, email="bo@example.com")
    assert ask(bo).status_code == 200


def test_after_a_sign_in_a_remembered_consent_goes_straight_through(ada):
    answer_to_client(press(ada, ask(ada), "Allow"))
    sign_out(ada)
    shown = ask(ada)
    answer = follow(ada, press(ada, shown, "Sign in", email=EMAIL, password=PASSWORD))
    assert "code" in answer_to_client(answer)
    assert is_closed(ada.get(f"/oauth/authorize?ticket={ticket_of(shown)}"))


def form_action(answer):
    return answer.headers["Content-Security-Policy"].partition("form-action ")[2].partition(";")[0].split()


@pytest.mark.threat("T104")
def test_the_forms_may_end_at_the_client_and_other_pages_forms_may_not(http, seed):
    """Browsers check a form's redirects too, and the client's own; a sign-in may end there, where consent is
    remembered.
    """
    seed(a_user(), a_client())
    assert form_action(http.get("/login")) == form_action(http.get("/")) == ["'self'"]
    assert form_action(ask(http)) == []
    sign_in(http)
    assert form_action(ask(http)) == []


# ---- growth ------------------------------------------------------------------------------------------------


def test_abandoned_requests_are_swept_by_later_ones(http, seed, rows):
    seed(a_client())
    seed(
        *(
            AuthorizationTicket(
                ticket_digest=bytes([number] * 32),
                browser_digest=b"b" * 32,
                client_id="web",
                sealed_parameters=b"",
                expires_at=clock.now() - 1,
            )
            for number in range(20)
        )
    )
    for _ in range(6):
        ask(http)
    assert rows(COUNT_TICKETS) == [(6,)]
