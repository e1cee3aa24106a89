"""`/oauth/logout` (RP-Initiated Logout 1.0): who is signed out, who is asked first, and where a person may be
sent.
"""

from urllib.parse import urlencode

import pytest
from sqlalchemy import func

from models import LogoutNotice, UserSession
from tests.builders import a_client_session, a_user
from tests.openid import an_openid_client, sign_in_at_client
from tests.pages.steps import follow, page, press, sign_in
from tests.services.test_sessions import a_notified_client
from tests.statements import select

BACK = "https://app.example/signed-out"
COUNT = select(func.count()).select_from(UserSession)


@pytest.fixture
def ada(http, seed):
    seed(
        a_user(),
        an_openid_client(client_name="Notebook", extra_metadata={"post_logout_redirect_uris": [BACK]}),
    )
    seed(
        an_openid_client(
            client_id="other", extra_metadata={"post_logout_redirect_uris": ["https://other.example/"]}
        )
    )
    sign_in(http)
    return http


@pytest.fixture
def hint(ada):
    return sign_in_at_client(ada)["id_token"]


def logout(http, **parameters):
    return http.get("/oauth/logout", query_string=parameters)


def is_refused(answer):
    return (
        answer.status_code == 400
        and page(answer).headings == ["This link does not work"]
        and "Location" not in answer.headers
    )


def test_a_full_request_signs_out_and_leads_back(ada, hint, rows):
    answer = logout(ada, id_token_hint=hint, post_logout_redirect_uri=BACK, state="a b&c")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{BACK}?state=a+b%26c")
    assert rows(COUNT) == [(0,)]
    assert page(ada.get("/")).headings == ["One account for your applications"]


def test_a_program_that_looks_where_a_link_leads_signs_nobody_out(ada, hint, rows):
    answer = ada.head("/oauth/logout", query_string={"id_token_hint": hint})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    assert rows(COUNT) == [(1,)]


def test_without_a_state_the_uri_is_left_as_it_is(ada, hint):
    assert logout(ada, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK


def test_without_an_address_our_own_page_says_so(ada, hint, rows):
    answer = follow(ada, logout(ada, id_token_hint=hint, state="x"))
    assert page(answer).headings == ["You are signed out"]
    assert rows(COUNT) == [(0,)]


@pytest.mark.threat("T112")
@pytest.mark.parametrize(
    "parameters",
    [{}, {"state": "x"}, {"client_id": "web"}, {"client_id": "web", "post_logout_redirect_uri": BACK}],
)
def test_without_a_hint_the_person_is_asked(ada, rows, parameters):
    shown = logout(ada, **parameters)
    assert shown.status_code == 200 and page(shown).headings == ["Sign out?"]
    assert rows(COUNT) == [(1,)]
    assert press(ada, shown, "Stay signed in").headers["Location"] == "/" and rows(COUNT) == [(1,)]
    answer = press(ada, shown, "Sign out")
    assert rows(COUNT) == [(0,)]
    assert answer.headers["Location"] == parameters.get("post_logout_redirect_uri", "/logout")


def test_the_question_names_the_client_and_where_it_leads(ada):
    shown = logout(ada, client_id="web", post_logout_redirect_uri=BACK, state="s")
    assert "Notebook sent you here to sign out, and takes you back to app.example" in page(shown).text
    assert "form-action" not in shown.headers["Content-Security-Policy"]  # it may lead on into an application
    assert press(ada, shown, "Sign out").headers["Location"] == f"{BACK}?state=s"


@pytest.mark.threat("T112")
def test_an_answer_that_was_forged(ada, rows):
    form = page(logout(ada)).form("Sign out").filled("Sign out")
    assert ada.post("/oauth/logout", data=form | {"csrf_token": "x"}).status_code == 400
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert ada.post("/oauth/logout", data=form, headers=foreign).status_code == 400
    assert is_refused(
        ada.post("/oauth/logout", data=form | {"post_logout_redirect_uri": "https://evil.example"})
    )
    assert rows(COUNT) == [(1,)]


@pytest.mark.threat("T111")
@pytest.mark.parametrize(
    "address",
    [
        BACK + "?a=b",
        BACK + "/",
        BACK + "#x",
        "https://APP.example/signed-out",
        "https://other.example/",
        "https://evil.example/",
        "x",
    ],
)
def test_an_address_that_is_not_registered(ada, hint, rows, address):
    assert is_refused(logout(ada, id_token_hint=hint, post_logout_redirect_uri=address))
    assert is_refused(logout(ada, client_id="web", post_logout_redirect_uri=address))
    assert is_refused(logout(ada, post_logout_redirect_uri=BACK))
    assert rows(COUNT) == [(1,)]


@pytest.mark.threat("T111", "T121", "T135")
def test_a_hint_that_is_none(ada, hint, rows):
    header, payload, signature = hint.split(".")
    access_token = sign_in_at_client(ada)["access_token"]
    none = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    changed = f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for text in (f"{none}.{payload}.", f"{none}.{payload}.{signature}", changed, access_token, "x", "a.b.c"):
        assert is_refused(logout(ada, id_token_hint=text, post_logout_redirect_uri=BACK))
        assert is_refused(logout(ada, id_token_hint=text))
    assert rows(COUNT) == [(1,)]


@pytest.mark.threat("T111")
def test_a_hint_may_have_expired(ada, sleep, hint, rows):
    sleep(11 * 3600)
    assert logout(ada, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    assert rows(COUNT) == [(0,)]


def test_what_is_left_of_an_expired_session_ends_with_its_own_browser(app, ada, sleep, hint, seed, rows):
    """The next morning: the cookie is gone or of no use, and other clients still take the person for signed
    in.
    """
    seed(a_notified_client("calendar"), a_client_session("sid-c", client_id="calendar"))
    sleep(24 * 3600)
    elsewhere = app.test_client()
    elsewhere.set_cookie("__Host-ostiary-device", "A" * 22 + "." + "A" * 43, domain="op.example", secure=True)
    assert logout(elsewhere, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    assert rows(COUNT) == [(1,)]
    ada.delete_cookie("__Host-ostiary", domain="op.example")
    assert logout(ada, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    assert rows(COUNT) == [(0,)]
    assert rows(select(LogoutNotice.sid)) == [("sid-c",)]


def test_a_client_that_is_not_the_hints(ada, hint, rows):
    for client_id in ("other", "nobody"):
        assert is_refused(logout(ada, id_token_hint=hint, client_id=client_id))
    assert rows(COUNT) == [(1,)]


def test_a_parameter_given_twice_is_refused(ada, hint):
    query = urlencode([("id_token_hint", hint), ("state", "a"), ("state", "b")])
    assert is_refused(ada.get(f"/oauth/logout?{query}"))


def test_who_is_signed_out_already_is_sent_on(ada, hint):
    logout(ada, id_token_hint=hint)
    assert logout(ada, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    assert follow(ada, logout(ada)).status_code == 200


def test_a_form_of_the_client_comes_back_by_get(ada, hint, rows):
    answer = ada.post(
        "/oauth/logout", data={"id_token_hint": hint, "post_logout_redirect_uri": BACK, "state": "s"}
    )
    assert answer.status_code == 303 and answer.headers["Location"].startswith("/oauth/logout?")
    assert rows(COUNT) == [(1,)]
    assert ada.get(answer.headers["Location"]).headers["Location"] == f"{BACK}?state=s"
    assert rows(COUNT) == [(0,)]
    assert ada.post("/oauth/logout", data={"state": "x" * 20_000}).status_code == 400


# ---- several people ----------------------------------------------------------------------------------------


@pytest.fixture
def both(ada, hint, seed):
    seed(a_user(id=2, sub="b", email="bo@example.com", name="Bo"))
    sign_in(ada, email="bo@example.com")
    return ada


def test_only_whom_the_hint_names(both, hint, rows):
    assert logout(both, id_token_hint=hint, post_logout_redirect_uri=BACK).status_code == 303
    assert rows(select(UserSession.user_id)) == [(2,)]
    assert page(both.get("/")).headings == ["Hello, Bo"]


def test_a_hint_of_somebody_who_is_not_here_asks(both, hint, rows):
    logout(both, id_token_hint=hint)
    shown = logout(both, id_token_hint=hint, post_logout_redirect_uri=BACK)
    assert page(shown).headings == ["Sign out?"] and "bo@example.com" in page(shown).text
    assert rows(COUNT) == [(1,)]


@pytest.mark.threat("T183")
def test_a_hint_of_another_session_of_the_same_person_asks(app, ada, hint, rows):
    """A `sid` names one session.

    Of another browser, or when it has ended, nobody here is meant, whoever the `sub` is.
    """
    elsewhere = app.test_client()
    sign_in(elsewhere)
    assert page(logout(elsewhere, id_token_hint=hint)).headings == ["Sign out?"]
    assert rows(COUNT) == [(2,)]
    logout(ada, id_token_hint=hint)
    sign_in(ada)
    for browser in (ada, elsewhere):
        shown = logout(browser, id_token_hint=hint, post_logout_redirect_uri=BACK)
        assert page(shown).headings == ["Sign out?"]
    assert rows(COUNT) == [(2,)]


def test_without_a_hint_with_two(both, rows):
    shown = logout(both)
    press(both, shown, "Sign out only Bo")
    assert rows(select(UserSession.user_id)) == [(1,)]
