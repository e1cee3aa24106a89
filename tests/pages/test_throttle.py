"""Too many failed sign-ins: 429 for strangers, never for the owner on a device of theirs, and nothing is
learned from it.
"""

import pytest
from sqlalchemy import func

from config import Settings
from models import Throttle, User, UserSession
from services.current import state_of
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, a_user
from tests.pages.steps import EMAIL, page, press, sign_out
from tests.statements import select

WRONG = "a wrong password"

# The clock stands still.
pytestmark = [pytest.mark.usefixtures("sleep"), pytest.mark.thorough]


@pytest.fixture(scope="module")
def settings():
    return Settings(
        issuer=ISSUER,
        database_url="sqlite://",
        secret_key=SECRET_KEY,
        signup="open",
        failed_sign_ins_per_account_and_address=5,
        failed_sign_ins_per_account=8,
        failed_sign_ins_per_address=20,
        throttle_period=600,
    )


@pytest.fixture
def browser(app, http, seed):
    """A new browser at an address: `attempt(password)` signs in with it, as Ada when nobody else is named."""
    seed(a_user(), a_user(id=2, sub="sub-of-eve", email="eve@example.com"))

    class Browser:
        def __init__(self, address="192.0.2.1"):
            self.client = app.test_client()
            self.client.environ_base["REMOTE_ADDR"] = address

        def attempt(self, password=WRONG, email=EMAIL):
            form = page(self.client.get("/login")).form("Sign in")
            return self.client.post("/login", data=form.filled("Sign in", email=email, password=password))

        def attempts(self, times, **account):
            return [self.attempt(**account).status_code for _time in range(times)]

    return Browser


@pytest.mark.threat("T119")
def test_fifty_wrong_passwords_are_throttled(browser):
    assert browser().attempts(50) == [400] * 5 + [429] * 45


def test_the_form_comes_back_with_the_address_and_the_wait(browser):
    stranger = browser()
    stranger.attempts(5)
    answer = stranger.attempt()
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "120"
    assert "Too many tries. Please wait 2 minutes, then try again." in answer.text
    assert page(answer).form("Sign in").fields["email"] == EMAIL
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_throttled_stranger_does_not_get_in_with_the_right_password(browser, rows):
    """Else the answer would say which guess was right."""
    stranger = browser()
    stranger.attempts(5)
    assert stranger.attempt(PASSWORD).status_code == 429
    assert rows(select(func.count()).select_from(UserSession)) == [(0,)]


@pytest.mark.threat("T119")
def test_the_owner_gets_in_on_a_device_of_theirs(browser):
    own = browser()
    assert own.attempt(PASSWORD).status_code == 303
    sign_out(own.client)
    assert browser().attempts(6) == [400] * 5 + [429]
    for number in range(2, 64):
        browser(f"192.0.2.{number}").attempts(3)
    assert browser("192.0.2.107").attempts(1) == [429]  # the account as a whole, and newcomers too
    assert own.attempt(PASSWORD).status_code == 303


def test_strangers_hold_each_other_up_and_a_new_device_of_the_owner_gets_in(browser):
    """Whoever keeps an account full from a few networks waits; from a network that has not failed, a person
    may mistype.
    """
    strangers = [browser(f"192.0.2.{number}") for number in (1, 2)]
    assert [stranger.attempts(5) for stranger in strangers] == [[400] * 5] * 2  # three of them as newcomers
    assert [stranger.attempts(1) for stranger in strangers] == [[429]] * 2
    third = browser("192.0.2.3")
    assert third.attempts(5) == [400] * 3 + [429] * 2
    assert third.attempt(PASSWORD).status_code == 429
    new_device = browser("198.51.100.7")
    assert new_device.attempts(2) == [400] * 2
    assert new_device.attempt(PASSWORD).status_code == 303


@pytest.mark.threat("T119")
def test_many_networks_have_so_many_tries_together_and_no_more(browser, sleep):
    """8 in a throttle period, and 20 times as many in a day as newcomers, from however many networks."""
    tried = [browser(f"10.0.{number // 100}.{number % 100}").attempts(1)[0] for number in range(200)]
    assert tried == [400] * 168 + [429] * 32
    sleep(75)  # strangers get one more each 600 / 8 seconds
    assert [browser(f"10.1.0.{number}").attempts(1)[0] for number in range(3)] == [400, 429, 429]


@pytest.mark.threat("T119")
def test_an_ipv6_site_is_one_newcomer(browser):
    for number in range(2):
        browser(f"192.0.2.{number}").attempts(5)
    tried = [browser(f"2001:db8:1:{number:x}::1").attempts(1)[0] for number in range(6)]
    assert tried == [400] * 3 + [429] * 3
    assert browser("2001:db8:2:1::1").attempt(PASSWORD).status_code == 303


def test_a_newcomer_waits_for_what_is_first(browser):
    for number in range(100):
        browser(f"192.0.2.{number}").attempt()
    stranger = browser("192.0.2.1")
    stranger.attempts(3)
    answer = stranger.attempt()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "75")


def test_the_owner_gets_in_from_elsewhere_too(browser):
    browser().attempts(50)
    assert browser("192.0.2.2").attempt(PASSWORD).status_code == 303


def test_a_known_device_is_counted_by_itself(browser):
    own = browser()
    own.attempt(PASSWORD)
    assert own.attempts(6) == [400] * 5 + [429]
    assert browser().attempt(PASSWORD).status_code == 303  # and its failures are no strangers'


def test_a_device_is_known_for_the_accounts_used_on_it_and_no_other(browser):
    eve = browser()
    assert eve.attempt(PASSWORD, "eve@example.com").status_code == 303
    assert eve.attempts(6) == [400] * 5 + [429]


@pytest.mark.threat("T115")
def test_an_account_that_does_not_exist_is_answered_alike(browser):
    def answers(address, email):
        stranger = browser(address)
        return [
            (answer.status_code, answer.headers.get("Retry-After"), page(answer).text.replace(email, "EMAIL"))
            for answer in (stranger.attempt(email=email) for _time in range(7))
        ]

    assert answers("192.0.2.1", EMAIL) == answers("192.0.2.2", "nobody@example.com")


def test_an_address_that_is_none_is_counted_too(browser):
    assert browser().attempts(6, email="no address") == [400] * 5 + [429]


def test_spellings_of_an_address_are_one_account(browser):
    stranger = browser()
    stranger.attempts(3)
    assert stranger.attempts(3, email=" ADA@Example.COM ") == [400, 400, 429]


def test_an_address_that_tries_many_accounts_is_counted_as_a_whole(browser, rows):
    stranger = browser()
    statuses = [stranger.attempt(email=f"person{number}@example.com").status_code for number in range(22)]
    assert statuses == [400] * 20 + [429] * 2
    assert rows(select(func.count()).select_from(Throttle)) == [(41,)]  # what is refused makes no row
    assert browser("192.0.2.2").attempt().status_code == 400


def test_trying_addresses_at_sign_up_is_guessing_too(browser):
    stranger = browser()

    def sign_up(email):
        form = {"name": "Mallory", "email": email, "password": "a long enough password"}
        return press(stranger.client, stranger.client.get("/signup"), "Create account", **form).status_code

    assert [sign_up(EMAIL) for _time in range(21)] == [400] * 20 + [429]
    assert sign_up("new@example.com") == 429
    assert stranger.attempts(1) == [429]


# ---- new accounts ------------------------------------------------------------------------------------------


def sign_up(browser, number, **fields):
    form = {"name": "Grace", "email": f"grace{number}@example.com", "password": PASSWORD} | fields
    return press(browser.client, browser.client.get("/signup"), "Create account", **form)


@pytest.mark.threat("T189")
def test_so_many_accounts_are_made_from_an_address_in_an_hour(browser, rows, sleep):
    same = [browser("2001:db8::1"), browser("2001:db8::2")]  # one /64
    answers = [sign_up(same[number % 2], number) for number in range(22)]
    assert [answer.status_code for answer in answers] == [303] * 20 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "180"
    assert "Please wait 3 minutes, then try again." in answers[-1].text
    assert page(answers[-1]).form("Create account").fields["email"] == "grace21@example.com"
    assert rows(select(func.count()).select_from(User)) == [(22,)]
    assert sign_up(browser("2001:db8:0:1::1"), "-elsewhere").status_code == 303
    sleep(180)
    assert [sign_up(same[0], f"-later{number}").status_code for number in range(2)] == [303, 429]


def test_a_form_with_a_mistake_makes_no_account_and_does_not_count(browser, rows):
    own = browser()
    assert {sign_up(own, number, password="short").status_code for number in range(25)} == {400}
    assert rows(select(func.count()).select_from(Throttle)) == [(0,)]
    assert sign_up(own, 1).status_code == 303


def test_whoever_is_refused_hashes_nothing(browser, app):
    own = browser()
    for number in range(20):
        sign_up(own, number)
    with state_of(app).password_hashes.acquire(), state_of(app).password_hashes.acquire():
        assert sign_up(own, 20).status_code == 429  # and not 503


def test_a_new_account_knows_its_device(browser):
    own = browser()
    form = {"name": "Grace", "email": "grace@example.com", "password": PASSWORD}
    assert press(own.client, own.client.get("/signup"), "Create account", **form).status_code == 303
    sign_out(own.client)
    browser().attempts(9, email="grace@example.com")
    assert own.attempt(PASSWORD, "grace@example.com").status_code == 303


def test_success_is_never_counted(browser, rows):
    own = browser()
    assert own.attempts(12, password=PASSWORD) == [303] * 12
    assert rows(select(func.count()).select_from(Throttle)) == [(0,)]


def test_a_throttled_attempt_hashes_nothing_and_writes_nothing(browser, statements, app):
    stranger = browser()
    stranger.attempts(5)
    form = page(stranger.client.get("/login")).form("Sign in")
    statements.clear()
    with state_of(app).password_hashes.acquire(), state_of(app).password_hashes.acquire():
        answer = stranger.client.post("/login", data=form.filled("Sign in", email=EMAIL, password=WRONG))
    assert answer.status_code == 429  # and not 503, though every slot was taken
    # The throttles, and before and after them whether the same form was answered: it may have arrived twice.
    assert [sql.split()[0] for sql in statements if sql not in ("COMMIT", "ROLLBACK")] == ["SELECT"] * 3


def test_it_drains_with_time(browser, sleep):
    stranger = browser()
    stranger.attempts(6)
    sleep(120)
    assert stranger.attempts(2) == [400, 429]


@pytest.mark.threat("T118")
@pytest.mark.parametrize(
    ("path", "button", "email"),
    [("/login", "Sign in", EMAIL), ("/signup", "Create account", "new@example.com")],
)
def test_when_too_many_passwords_are_hashed_the_form_comes_back_with_503(
    browser, app, path, button, email, rows
):
    own = browser()
    slots = state_of(app).password_hashes
    fields = page(own.client.get(path)).form(button).filled(button, email=email, password=PASSWORD) | {
        "name": "New"
    }
    with slots.acquire(), slots.acquire():
        answer = own.client.post(path, data=fields)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert "Please try again in a few seconds." in answer.text
    assert email in answer.text
    assert rows(select(func.count()).select_from(Throttle)) == [(0,)]
    assert own.client.post(path, data=fields).status_code == 303
