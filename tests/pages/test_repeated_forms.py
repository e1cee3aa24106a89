"""A form that arrives twice, byte for byte, in one browser: both are answered alike, and its work is done
once.

A person clicks twice, or the line is slow and they click again: the browser shows the answer to the last one,
and sends it with the cookies that it has by then: those from before the first answer, or those that came with
it.
"""

import pytest
from sqlalchemy import func

import store.form_answers
from crypto import credentials
from middleware.endpoint_policy import MAXIMUM_BODY
from models import AuthorizationCode, Consent, FormAnswer, User, UserSession
from services.browser_ids import MAXIMUM_COOKIES
from tests.builders import PASSWORD, REDIRECT_URI, a_client, a_user
from tests.pages.steps import EMAIL, answer_to_client, ask, authorization_path, follow, page, press, sign_in
from tests.pages.test_csrf import FORMS, form
from tests.statements import select

__all__ = ["form"]

TABLES = (User, UserSession, AuthorizationCode, Consent)


def cookies_of(http):
    return {key: cookie for key, cookie in http._cookies.items()}


@pytest.fixture
def state(rows):
    return lambda: [
        *(rows(select(func.count()).select_from(table)) for table in TABLES),
        rows(select(UserSession.session_digest, UserSession.auth_time)),
        rows(select(User.password_hash)),
    ]


def end_of(answer):
    return answer.status_code, answer.headers.get("Location")


@pytest.mark.parametrize("has_first_answer", [False, True], ids=["old cookies", "new cookies"])
def test_the_same_form_again_leads_to_the_same_place(http, form, state, has_first_answer):
    path, data = form
    before = cookies_of(http)
    first = http.post(path, data=data)
    assert first.status_code == 303
    done, after = state(), session_cookie(http)
    if not has_first_answer:
        http._cookies = before
    assert end_of(http.post(path, data=data)) == end_of(first)
    assert state() == done
    assert session_cookie(http) == after or not has_first_answer
    assert is_the_same_person(http, after)


def session_cookie(http):
    return next((cookie.value for cookie in http._cookies.values() if cookie.key == "__Host-ostiary"), None)


def is_the_same_person(http, cookie):
    """Whether the browser is signed in as it was after the first answer, or signed out as it was then."""
    headings = page(http.get("/")).headings
    http.set_cookie("__Host-ostiary", cookie or "", domain="op.example", secure=True)
    return page(http.get("/")).headings == headings


@pytest.mark.parametrize("has_first_answer", [False, True], ids=["old cookies", "new cookies"])
def test_a_page_that_was_open_over_lunch_is_answered_once_too(http, seed, rows, sleep, has_first_answer):
    form = page(http.get("/signup")).form("Create account")
    data = form.filled("Create account", name="Ada", email=EMAIL, password=PASSWORD)
    sleep(5 * 3600)
    drop_cookies_older_than(http, 5 * 3600)
    before = cookies_of(http)
    first = http.post("/signup", data=data)
    assert end_of(first) == (303, "/")
    if not has_first_answer:
        http._cookies = before
    assert end_of(http.post("/signup", data=data)) == end_of(first)
    assert rows(select(func.count()).select_from(User)) == [(1,)]


def drop_cookies_older_than(http, seconds):
    """As a browser does; the test client's clock stands still."""
    http._cookies = {
        key: cookie
        for key, cookie in http._cookies.items()
        if cookie.max_age is None or cookie.max_age > seconds
    }


@pytest.mark.threat("T102")
def test_after_a_while_it_is_no_repeat(http, form, state, sleep):
    path, data = form
    assert http.post(path, data=data).status_code == 303
    done = state()
    sleep(store.form_answers.LIFETIME_SECONDS)
    answer = http.post(path, data=data)
    assert state()[:4] == done[:4]
    assert answer.status_code in (400, 404) or answer.headers["Location"] in (
        "/",
        path,
        "/logout",
        "/account/",
    )


@pytest.mark.threat("T098", "T099")
def test_another_browser_is_not_answered(http, new_browser, form, state):
    path, data = form
    assert http.post(path, data=data).status_code == 303
    done = state()
    other = new_browser()
    other.get("/login")  # it has cookies of its own
    answer = other.post(path, data=data)
    assert answer.status_code == 400
    assert state() == done
    assert page(other.get("/")).headings == ["One account for your applications"]


@pytest.mark.parametrize("change", [{"decision": "deny"}, {"csrf_token": "x"}, {"more": "1"}])
def test_a_form_that_differs_is_no_repeat(http, seed, change):
    seed(a_user(), a_client())
    sign_in(http)
    data = page(ask(http)).form("Allow").filled("Allow")
    assert "code" in answer_to_client(http.post("/oauth/authorize", data=data))
    answer = http.post("/oauth/authorize", data=data | change)
    assert answer.status_code == 400 and "Location" not in answer.headers


def test_a_second_page_of_the_same_second_is_another_form(http, seed, rows):
    seed(a_user())
    tokens = {page(http.get("/login")).form("Sign in").fields["csrf_token"] for _time in range(3)}
    assert len(tokens) == 3


def test_a_decision_twice_issues_one_code(http, seed, rows):
    seed(a_user(), a_client())
    sign_in(http)
    data = page(ask(http)).form("Allow").filled("Allow")
    codes = {answer_to_client(http.post("/oauth/authorize", data=data))["code"][0] for _time in range(3)}
    assert len(codes) == 1
    assert rows(select(func.count()).select_from(AuthorizationCode)) == [(1,)]


def test_an_answer_by_form_comes_twice_too(http, seed):
    seed(a_user(), a_client())
    sign_in(http)
    data = page(ask(http, response_mode="form_post")).form("Allow").filled("Allow")
    first, second = (http.post("/oauth/authorize", data=data) for _time in range(2))
    assert page(first).form("Continue").fields == page(second).form("Continue").fields
    assert page(second).form("Continue").url == REDIRECT_URI
    for name in ("Content-Security-Policy", "Cache-Control", "Content-Type"):
        assert first.headers[name] == second.headers[name]


def test_what_the_browser_has_learnt_since_is_not_taken_back(http, seed):
    """A repeat of an old sign-in does not replace the cookie of a newer one."""
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com", name="Bo"))
    shown = http.get("/login")
    press(http, shown, "Sign in", email=EMAIL, password=PASSWORD)
    sign_in(http, email="bo@example.com")
    assert press(http, shown, "Sign in", email=EMAIL, password=PASSWORD).status_code == 303
    assert page(http.get("/")).headings == ["Hello, Bo"]


@pytest.mark.threat("T119")
def test_a_wrong_password_sent_again_is_another_guess(http, seed):
    seed(a_user())
    shown = http.get("/login")
    statuses = [
        press(http, shown, "Sign in", email=EMAIL, password="wrong").status_code for _time in range(30)
    ]
    assert statuses[0] == 400 and statuses[-1] == 429


def test_answers_are_sealed_and_swept(http, seed, rows, sleep):
    seed(a_user(), a_client())
    for _time in range(8):
        sign_in(http)
        data = page(ask(http, prompt="consent")).form("Allow").filled("Allow")
        code = answer_to_client(http.post("/oauth/authorize", data=data))["code"][0]
        for (sealed,) in rows(select(FormAnswer.sealed_answer)):
            assert code.encode() not in sealed and PASSWORD.encode() not in sealed
        sleep(store.form_answers.LIFETIME_SECONDS + 1)
    assert rows(select(func.count()).select_from(FormAnswer))[0][0] <= 2


def test_a_sign_in_that_is_repeated_goes_on_with_its_request(http, seed):
    seed(a_user(), a_client())
    shown = http.get(http.get(authorization_path()).headers["Location"])
    before = cookies_of(http)
    press(http, shown, "Sign in", email=EMAIL, password=PASSWORD)
    http._cookies = before  # the first answer never arrived
    consent = follow(http, press(http, shown, "Sign in", email=EMAIL, password=PASSWORD))
    assert "code" in answer_to_client(press(http, consent, "Allow"))


def test_every_kind_of_form_is_tried():
    assert len(FORMS) == 9


def test_a_long_form_of_a_browser_with_many_ids_is_read_once(monkeypatch):
    lengths, digest = [], credentials.digest
    monkeypatch.setattr(credentials, "digest", lambda text: lengths.append(len(text)) or digest(text))
    ids = [number.to_bytes(32) for number in range(MAXIMUM_COOKIES)]
    assert len(set(store.form_answers.keys_of("x" * MAXIMUM_BODY, ids))) == MAXIMUM_COOKIES
    assert sum(lengths) < 2 * MAXIMUM_BODY
