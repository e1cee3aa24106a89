"""Many tabs of one browser: each pending request can be finished, whatever the others did before or
meanwhile.

A browser that is started with several tabs asks for all of them before any cookie is there. A form that
another tab made out of date does nothing, and comes back as a form.
"""

import random
from urllib.parse import quote, unquote, urlsplit

import pytest
from sqlalchemy import func

from models import AuthorizationCode, AuthorizationTicket, Consent, UserSession
from services import browser_ids
from store.tickets import PER_BROWSER
from tests.builders import PASSWORD, a_client, a_user
from tests.pages.steps import (
    EMAIL,
    answer_to_client,
    ask,
    authorization_path,
    page,
    press,
    sign_in,
    sign_out,
    ticket_of,
)
from tests.statements import select

BO = "bo@example.com"
COUNT_TICKETS = select(func.count()).select_from(AuthorizationTicket)
COUNT_CODES = select(func.count()).select_from(AuthorizationCode)
OUT_OF_DATE = "This form was out of date, so nothing was done."


@pytest.fixture
def people(http, seed):
    seed(a_user(), a_user(id=2, sub="b", email=BO, name="Bo"), a_client())
    return http


def opened_before_any_cookie(http, new_browser, count):
    """The sign-in pages of requests that were all asked for at once; afterwards the browser has the cookies
    of all answers.
    """
    addresses = []
    for number in range(count):
        answer = new_browser().get(authorization_path(state=f"tab {number}"))
        for cookie in answer.headers.getlist("Set-Cookie"):
            name, _equals, rest = cookie.partition("=")
            http.set_cookie(name, rest.partition(";")[0], domain="op.example", secure=True)
        addresses.append(answer.headers["Location"])
    return addresses


def finish(http, address):
    """Go on in a tab until its client has its answer; returns the state that it comes with."""
    answer = http.get(address)
    for _step in range(6):
        location = answer.headers.get("Location", "")
        if location.startswith("https://app.example/"):
            return answer_to_client(answer)["state"][0]
        if location:
            answer = http.get(location)
        elif "Stay with this account" in page(answer).links:
            answer = http.get(page(answer).links["Stay with this account"])
        elif "Sign in" in page(answer).headings:
            answer = press(http, answer, "Sign in", email=EMAIL, password=PASSWORD)
        else:
            answer = press(http, answer, "Allow")
    raise AssertionError(page(answer).text)


@pytest.mark.threat("T097")
@pytest.mark.parametrize("seed_of_order", range(3))
def test_tabs_that_were_opened_at_once_are_finished_in_any_order(people, new_browser, seed_of_order):
    addresses = opened_before_any_cookie(people, new_browser, 12)
    order = random.Random(seed_of_order).sample(range(12), 12)  # noqa: S311 - an order, not a secret
    assert [finish(people, addresses[number]) for number in order] == [f"tab {number}" for number in order]


def test_as_many_tabs_as_a_browser_may_have_are_finished(people):
    """The newest of them; the oldest made room."""
    addresses = []
    for number in range(PER_BROWSER + 3):
        addresses.append(people.get(authorization_path(state=f"tab {number}")).headers["Location"])
    assert PER_BROWSER >= 50
    for number in (len(addresses) - 1, 40, 3):
        assert finish(people, addresses[number]) == f"tab {number}"
    gone = page(people.get(addresses[0]))
    assert "The request of Web is no longer open." in gone.text
    assert gone.links["Continue to Web"] == "https://app.example/"


def test_a_browser_has_so_many_pending_requests_and_no_more(people, rows):
    for _number in range(PER_BROWSER + 20):
        people.get(authorization_path())
    assert rows(COUNT_TICKETS) == [(PER_BROWSER,)]


def test_a_browser_that_asks_again_and_again_keeps_one_id(people):
    for _number in range(3):
        people.get(authorization_path())
    assert len([cookie for cookie in people._cookies.values() if "-browser-" in cookie.key]) == 1


def test_an_old_id_is_renewed_and_its_requests_stay_open(people, sleep):
    first = people.get(authorization_path(state="first")).headers["Location"]
    sleep(browser_ids.RENEWAL_SECONDS - 10)
    second = people.get(authorization_path(state="second")).headers["Location"]
    sleep(20)
    third = people.get(authorization_path(state="third")).headers["Location"]
    assert "The request of Web is no longer open." in page(people.get(first)).text
    assert [finish(people, address) for address in (third, second)] == ["third", "second"]


@pytest.mark.parametrize(
    "value", ["", "x", "." * 40, "a" * 22, "a" * 22 + ".zz", "a" * 22 + "." + "f" * 13, "\xff.1"]
)
def test_a_browser_id_that_nobody_issued_is_passed_over(people, value):
    people.set_cookie("__Host-ostiary-browser-00000000", value, domain="op.example", secure=True)
    assert finish(people, authorization_path(state="mine")) == "mine"


def test_a_foreign_tab_is_not_finished_by_a_guess_of_the_id(people, new_browser):
    ticket = ticket_of(ask(people))
    other = new_browser()
    for number in range(60):
        other.set_cookie(
            f"__Host-ostiary-browser-{number:08x}", "a" * 22 + ".1", domain="op.example", secure=True
        )
    assert other.get(f"/oauth/authorize?ticket={ticket}").status_code == 400


# ---- what other tabs did meanwhile -------------------------------------------------------------------------


def sign_in_elsewhere(http):
    sign_in(http)


def sign_in_as_bo_elsewhere(http):
    sign_in(http, email=BO)


def sign_in_and_out_elsewhere(http):
    sign_in(http)
    sign_out(http)


@pytest.mark.threat("T098", "T100")
@pytest.mark.parametrize("meanwhile", [sign_in_elsewhere, sign_in_as_bo_elsewhere, sign_in_and_out_elsewhere])
@pytest.mark.parametrize("is_signed_in", [False, True])
def test_a_form_that_another_tab_made_out_of_date_comes_back_and_can_be_finished(
    people, rows, meanwhile, is_signed_in
):
    if is_signed_in:
        sign_in(people)
    shown = ask(people, state="mine")
    meanwhile(people)
    codes, sessions = rows(COUNT_CODES), rows(select(UserSession.session_digest))
    if is_signed_in:
        answer = press(people, shown, "Allow")
    else:
        answer = press(people, shown, "Sign in", email=EMAIL, password=PASSWORD)
    assert answer.status_code == 400
    assert (rows(COUNT_CODES), rows(select(UserSession.session_digest))) == (codes, sessions)
    assert page(answer).title.startswith("Error: ") or page(answer).headings == ["This form is out of date"]
    if "Continue" in page(answer).links:
        address = page(answer).links["Continue"]
    elif is_signed_in:
        assert answer_to_client(press(people, answer, "Allow"))["state"] == ["mine"]
        return
    else:
        assert OUT_OF_DATE in page(answer).text
        assert page(answer).form("Sign in").fields["email"] == EMAIL
        address = f"/oauth/authorize?ticket={ticket_of(answer)}"
    assert finish(people, address) == "mine"


def test_a_stale_sign_in_form_offers_whoever_is_signed_in_by_now(people):
    shown = ask(people)
    sign_in(people, email=BO)
    answer = press(people, shown, "Sign in", email=EMAIL, password=PASSWORD)
    assert page(answer).text.index("Continue as Bo") < page(answer).text.index("Email address")
    assert urlsplit(page(answer).links["Continue as Bo"]).path == "/oauth/authorize"


@pytest.mark.parametrize("button", ["Allow", "Deny"])
def test_a_stale_decision_decides_nothing_even_where_consent_is_remembered(people, seed, rows, button):
    seed(Consent(user_id=1, client_id="web", scope="profile", granted_at=1))
    sign_in(people)
    shown = ask(people, prompt="consent")
    sign_in(people)
    answer = press(people, shown, button)
    assert answer.status_code == 400
    assert page(answer).headings == ["Web asks for access"]
    assert rows(COUNT_CODES) == [(0,)]
    assert "error" in answer_to_client(press(people, answer, "Deny"))


def test_a_stale_choice_of_an_account_shows_the_accounts_again(people):
    sign_in(people)
    sign_in(people, email=BO)
    shown = people.get("/accounts")
    sign_in(people)
    answer = press(people, shown, "Bo bo@example.com")
    assert (answer.status_code, page(answer).headings) == (400, ["Choose an account"])
    assert OUT_OF_DATE in page(answer).text


def test_a_stale_sign_up_keeps_what_was_typed(people):
    shown = people.get("/signup")
    sign_in(people)
    answer = press(people, shown, "Create account", name="Eve", email="eve@example.com", password=PASSWORD)
    assert answer.status_code == 400
    assert page(answer).links["Continue as Ada"] == "/"
    assert {"name": "Eve", "email": "eve@example.com", "password": ""}.items() <= page(answer).form(
        "Create account"
    ).fields.items()


@pytest.mark.parametrize(
    ("path", "button", "heading"),
    [
        ("/logout", "Sign out", "Sign out?"),
        ("/oauth/logout", "Sign out", "Sign out?"),
        ("/account/sessions", "Sign out everywhere", "Where you are signed in"),
    ],
)
def test_a_stale_sign_out_asks_again(people, rows, path, button, heading):
    sign_in(people)
    shown = people.get(path)
    sign_in(people)
    answer = press(people, shown, button)
    assert (answer.status_code, page(answer).headings) == (400, [heading])
    assert len(rows(select(UserSession.id))) == 1
    assert press(people, answer, button).status_code == 303


# ---- without cookies ---------------------------------------------------------------------------------------


def test_a_browser_without_cookies_is_told_so_before_and_after_the_password(people, new_browser):
    shown = new_browser().get(people.get(authorization_path()).headers["Location"])
    assert "Your browser keeps no cookies of this site" in page(shown).text
    answer = press(new_browser(), shown, "Sign in", email=EMAIL, password=PASSWORD)
    assert (answer.status_code, page(answer).headings) == (400, ["Cookies are blocked"])


def test_the_cookies_of_another_issuer_of_the_same_host_are_not_ours(people, new_browser):
    other = new_browser()
    other.set_cookie("__Host-ostiary.staff", "x", domain="op.example", secure=True)
    answer = press(other, people.get("/login"), "Sign in", email=EMAIL, password=PASSWORD)
    assert page(answer).headings == ["Cookies are blocked"]


def test_a_form_that_was_open_for_long_is_out_of_date_and_not_without_cookies(people, new_browser, sleep):
    """The cookies may have ended with the browser, or by themselves."""
    shown = people.get("/login")
    sleep(browser_ids.RENEWAL_SECONDS + 10)
    answer = press(new_browser(), shown, "Sign in", email=EMAIL, password=PASSWORD)
    assert answer.status_code == 400
    assert OUT_OF_DATE in page(answer).text


# ---- after the decision ------------------------------------------------------------------------------------


def test_back_after_the_decision_leads_to_the_application(people):
    sign_in(people)
    shown = ask(people)
    answer_to_client(press(people, shown, "Allow"))
    answer = people.get(f"/oauth/authorize?client_id=web&ticket={ticket_of(shown)}")
    assert (answer.status_code, page(answer).headings) == (400, ["This request is no longer open"])
    assert "You came from Web at app.example." in page(answer).text
    assert page(answer).links["Continue to Web"] == "https://app.example/"


@pytest.mark.parametrize(
    ("members", "address"),
    [
        ({"extra_metadata": {"client_uri": "https://web.example/home"}}, "https://web.example/home"),
        (
            {"extra_metadata": {"initiate_login_uri": "https://web.example/start"}},
            "https://web.example/start",
        ),
        (
            {"redirect_uris": ["com.example.app:/cb", "https://web.example:8443/cb"]},
            "https://web.example:8443/",
        ),
        ({"redirect_uris": ["com.example.app:/cb"]}, None),
    ],
)
def test_where_an_application_is_found(http, seed, members, address):
    seed(a_client(**members))
    shown = page(http.get("/oauth/authorize?client_id=web&ticket=gone"))
    assert "You came from Web" in shown.text
    assert shown.links.get("Continue to Web") == address


@pytest.mark.parametrize("client_id", ["nobody", "%00", "x" * 300, "%3Cscript%3E"])
def test_a_dead_ticket_of_a_client_that_nobody_knows_says_no_name(people, client_id):
    answer = people.get(f"/oauth/authorize?client_id={client_id}&ticket=gone")
    assert answer.status_code == 400
    assert "script>" not in answer.text and "You came from" not in answer.text


NO_CLIENT_IDS = {"NUL": "%00", "letters": "%E9", "surrogate": "%ED%A0%80", "line feed": "web%0A"}


@pytest.mark.threat("T164")
@pytest.mark.parametrize("client_id", NO_CLIENT_IDS.values(), ids=list(NO_CLIENT_IDS))
@pytest.mark.parametrize("button", ["Sign in", "Create account", "Allow"])
def test_nobody_looks_for_a_client_whose_id_is_none(people, statements, button, client_id):
    """PostgreSQL takes no NUL in a text: a question with one would be answered 500."""
    gone = f"/oauth/authorize?ticket=gone&client_id={client_id}"
    path = {"Sign in": "/login", "Create account": "/signup"}.get(button)
    statements.clear()
    if path is not None:
        answer = people.get(f"{path}?next={quote(gone, safe='')}")
    else:
        answer = people.post(
            "/oauth/authorize", data={"ticket": "gone", "client_id": unquote(client_id), "decision": "allow"}
        )
    assert answer.status_code == (400 if path is None else 200)
    assert not [statement for statement in statements if "FROM client" in statement]
