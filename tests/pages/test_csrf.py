"""Every form proves that it is our own page's, sent by our own page, in the browser that it was shown to."""

import pytest
from sqlalchemy import func

from app import ENDPOINTS, PAGES
from middleware.endpoint_policy import Csrf
from middleware.policy_table import read_policies
from models import AuthorizationCode, Consent, User, UserSession, db
from tests.builders import ISSUER, PASSWORD, a_client, a_user
from tests.pages.steps import EMAIL, answer_to_client, ask, authorization_path, page, press, sign_in
from tests.statements import select

TABLES = (User, UserSession, AuthorizationCode, Consent)


@pytest.fixture
def state(rows):
    """How many rows there are of what a form can make or end, and the passwords."""
    return lambda: [
        *(rows(select(func.count()).select_from(table)) for table in TABLES),
        rows(select(User.password_hash)),
    ]


def login_form(http):
    return page(http.get("/login")).form("Sign in").filled("Sign in", email=EMAIL, password=PASSWORD)


def signup_form(http):
    form = page(http.get("/signup")).form("Create account")
    return form.filled("Create account", name="Bo", email="bo@example.com", password=PASSWORD)


def logout_form(http):
    sign_in(http)
    return page(http.get("/")).form("Sign out").filled("Sign out")


def consent_form(http):
    sign_in(http)
    return page(ask(http)).form("Allow").filled("Allow")


def another_account_form(http):
    sign_in(http)
    return page(http.get("/accounts")).form("Ada ada@example.com").filled("Ada ada@example.com")


def end_session_form(http):
    sign_in(http)
    return page(http.get("/oauth/logout")).form("Sign out").filled("Sign out")


def account_form(path, button):
    def form(http):
        sign_in(http)
        press(http, ask(http), "Allow")
        return page(http.get(path)).form(button).filled(button)

    return form


def password_form(http):
    sign_in(http)
    form = page(http.get("/account/password")).form("Change password")
    return form.filled("Change password", password=PASSWORD, new_password="another long password")


FORMS = {
    "sign in": ("/login", login_form),
    "sign up": ("/signup", signup_form),
    "sign out": ("/logout", logout_form),
    "consent": ("/oauth/authorize", consent_form),
    "another account": ("/accounts", another_account_form),
    "sign out for a client": ("/oauth/logout", end_session_form),
    "sign out everywhere": ("/account/sessions", account_form("/account/sessions", "Sign out everywhere")),
    "remove access": ("/account/applications", account_form("/account/applications", "Remove access of Web")),
    "change the password": ("/account/password", password_form),
}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request, http, seed):
    """A path and what would be sent there, filled in by a person in front of our page."""
    seed(a_user(), a_client())
    path, fill = request.param
    return path, fill(http)


def test_every_page_that_takes_a_form_is_tried(app):
    find = read_policies(ENDPOINTS, PAGES).find
    paths = [rule.rule for rule in app.url_map.iter_rules() if "POST" in rule.methods]
    taken = {path for path in paths if find(path).csrf is not Csrf.NO_FORM}
    assert taken == {path for path, _fill in FORMS.values()}


@pytest.mark.threat("T098")
def test_what_a_view_does_without_asking_is_undone(app, http, state):
    """Whoever adds a page and forgets to ask whether its form is out of date has not made it a page for
    forged forms.
    """

    def careless():
        db.session.add(a_user())
        return "done"

    app.add_url_rule("/careless", view_func=careless, methods=["POST"])
    before = state()
    assert http.post("/careless", data={"csrf_token": "x"}).status_code == 400
    assert state() == before


def is_refused(answer):
    return answer.status_code == 400 and "Location" not in answer.headers and page(answer).headings


@pytest.mark.threat("T030")
def test_the_form_works(http, form):
    path, data = form
    answer = http.post(path, data=data, headers={"Sec-Fetch-Site": "same-origin", "Origin": ISSUER})
    assert answer.status_code == 303


@pytest.mark.threat("T098", "T100")
@pytest.mark.parametrize("token", [None, "", "x", "a.b.c"])
def test_no_token_no_effect(http, form, state, token):
    path, data = form
    before = state()
    data.pop("csrf_token")
    assert is_refused(http.post(path, data=data | ({} if token is None else {"csrf_token": token})))
    assert state() == before


@pytest.mark.threat("T098", "T100")
def test_the_token_of_another_browser_does_not_count(http, new_browser, form, state):
    path, data = form
    before = state()
    foreign = login_form(new_browser())["csrf_token"]
    assert is_refused(http.post(path, data=data | {"csrf_token": foreign}))
    assert state() == before


@pytest.mark.threat("T098")
def test_a_token_in_the_address_does_not_count(http, form, state):
    path, data = form
    before = state()
    assert is_refused(
        http.post(path, data=data | {"csrf_token": ""}, query_string={"csrf_token": data["csrf_token"]})
    )
    assert state() == before


@pytest.mark.threat("T098")
def test_a_form_without_its_cookie_is_refused(new_browser, form, state):
    path, data = form
    before = state()
    assert is_refused(new_browser().post(path, data=data))
    assert state() == before


@pytest.mark.threat("T098", "T100")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://op.example.evil.example"},
        {"Origin": "http://op.example"},
        {"Origin": "https://op.example:8443"},
    ],
    ids=str,
)
def test_another_sites_form_is_refused(http, form, state, headers):
    path, data = form
    before = state()
    assert is_refused(http.post(path, data=data, headers=headers))
    assert state() == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        # what Chromium sends under Referrer-Policy: no-referrer
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Origin": ISSUER},
    ],
    ids=str,
)
def test_our_own_form_is_taken(http, form, headers):
    path, data = form
    assert http.post(path, data=data, headers=headers).status_code == 303


@pytest.mark.threat("T098")
def test_a_form_from_before_the_sign_in_is_out_of_date_after_it(http, seed, state):
    seed(a_user(), a_client())
    old = login_form(http)
    sign_in(http)
    before = state()
    answer = http.post("/login", data=old)
    assert is_refused(answer)
    assert "This form was out of date, so nothing was done." in page(answer).text
    assert page(answer).form("Sign in").fields["email"] == EMAIL
    assert page(answer).links["Continue as Ada"] == "/"
    assert state() == before


@pytest.mark.threat("T097", "T100")
def test_a_consent_page_from_before_a_change_of_person_is_out_of_date(http, seed, rows):
    """Whoever signs in next does not answer with a click on the old page."""
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com"), a_client())
    sign_in(http)
    shown = ask(http)
    sign_in(http, email="bo@example.com")
    assert is_refused(press(http, shown, "Allow"))
    assert rows(select(AuthorizationCode.user_id)) == []


@pytest.mark.threat("T030")
def test_a_clients_own_page_may_post_an_authorization_request(http, seed):
    """RFC 6749 §3.1: it comes back by GET, where it decides nothing by itself."""
    seed(a_user(), a_client())
    sign_in(http)
    path, _question_mark, query = authorization_path().partition("?")
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}
    answer = http.post(path, data=query, content_type="application/x-www-form-urlencoded", headers=foreign)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{path}?{query}")
    shown = http.get(answer.headers["Location"])
    assert "code" in answer_to_client(press(http, shown, "Allow"))


@pytest.mark.parametrize("value", ["\ud800", "\udced\udca3", 7, None, ["x"], {"x": 1}, "x" * 9_000])
@pytest.mark.parametrize("path", ["/login", "/signup", "/account/password"])
def test_a_form_is_not_read_from_json(http, seed, path, value):
    """Neither its token nor its fields: the page comes back as it was."""
    seed(a_user())
    sign_in(http)
    token = page(http.get("/account/password")).forms[0].fields["csrf_token"]
    fields = dict.fromkeys(("name", "email", "password", "new_password"), value)
    answer = http.post(path, json=fields | {"csrf_token": token})
    assert answer.status_code == 400
    assert page(answer).forms[0].fields.get("name", "") == ""
