"""`/signup`: who may make an account, and what is asked of name, address and password."""

import pytest
from sqlalchemy import func

from config import Settings
from models import User, UserSession
from services import passwords
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, a_client, a_user
from tests.pages.steps import ask, page, press, sign_in
from tests.statements import select

COUNT_USERS = select(func.count()).select_from(User)
VALID = {"name": "Grace Hopper", "email": "grace@example.com", "password": "a ship in port is safe"}


def sign_up(http, **changed):
    return press(http, http.get("/signup"), "Create account", **VALID | changed)


def problem_of(answer, name):
    """The words that are tied to a field as its problem, or None."""
    shown = page(answer)
    (field,) = [attributes for attributes in shown.all("input") if attributes["name"] == name]
    if "aria-invalid" not in field:
        return None
    assert f"{field['id']}-problem" in field["aria-describedby"].split()
    assert shown.with_id(f"{field['id']}-problem") == ["p"]
    return answer.text.partition(f'id="{field["id"]}-problem">')[2].partition("<")[0]


def test_an_account_is_made_and_signed_in(http, rows):
    answer = sign_up(http)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "Hello, Grace Hopper" in page(http.get("/")).headings
    [(email, name, password_hash, verified_at, is_admin, sub)] = rows(
        select(User.email, User.name, User.password_hash, User.email_verified_at, User.is_admin, User.sub)
    )
    assert (email, name, verified_at, is_admin) == ("grace@example.com", "Grace Hopper", None, False)
    assert password_hash.startswith("$argon2id$")
    assert len(sub) >= 20
    assert rows(select(func.count()).select_from(UserSession)) == [(1,)]


def test_name_and_address_are_stored_in_one_form(http, rows):
    assert sign_up(http, name="  Grace  ", email=" Grace@EXAMPLE.com ").status_code == 303
    assert rows(select(User.name, User.email)) == [("Grace", "grace@example.com")]


@pytest.mark.threat("T117")
@pytest.mark.parametrize("length", [12, 1_024])
def test_a_password_of_the_right_length(http, length):
    password = ("passwort-ü" * 200)[:length]
    assert sign_up(http, password=password).status_code == 303
    http.delete_cookie("__Host-ostiary", domain="op.example")
    sign_in(http, email=VALID["email"], password=password)


INVALID = [
    ("name", ""),
    ("name", "   "),
    ("name", "x" * 201),
    ("name", "Grace\u202eHopper"),
    ("name", "Grace\0"),
    ("name", "Grace\nHopper"),
    ("email", ""),
    ("email", "grace"),
    ("email", "grace@"),
    ("email", "grace@example.com\0"),
    ("email", "grace@example.com\nBcc: all@example.com"),
    ("email", "g" * 250 + "@example.com"),
    ("email", "<script>@example.com"),
    ("password", ""),
    ("password", "x" * 11),
    ("password", "x" * 1_025),
    ("password", "long enough\0but with NUL"),
]


@pytest.mark.threat("T117")
@pytest.mark.parametrize(("name", "value"), INVALID)
def test_what_is_wrong_is_said_at_its_field(http, rows, name, value):
    answer = sign_up(http, **{name: value})
    assert answer.status_code == 400
    assert problem_of(answer, name)
    assert [problem_of(answer, other) for other in VALID if other != name] == [None, None]
    assert page(answer).title.startswith("Error")
    assert not page(answer).form("Create account").fields["password"]
    assert rows(COUNT_USERS) == [(0,)]


def test_an_address_has_one_account(http, seed, rows):
    seed(a_user())
    answer = sign_up(http, email="ADA@example.com")
    assert answer.status_code == 400
    assert "Sign in instead" in problem_of(answer, "email")
    assert rows(COUNT_USERS) == [(1,)]


def test_a_taken_address_costs_a_hash_too(http, seed, monkeypatch):
    seed(a_user())
    hashed = []
    genuine = passwords.hash_password
    monkeypatch.setattr(
        passwords, "hash_password", lambda password: hashed.append(password) or genuine(password)
    )
    assert sign_up(http, email="ada@example.com").status_code == 400
    assert hashed == [VALID["password"]]


def test_the_password_is_hashed_before_anything_is_written(http, statements, monkeypatch):
    sent_before_hashing = []
    genuine = passwords.hash_password

    def noting(password):
        sent_before_hashing.append(list(statements))
        return genuine(password)

    monkeypatch.setattr(passwords, "hash_password", noting)
    statements.clear()
    assert sign_up(http).status_code == 303
    assert len(sent_before_hashing) == 1
    assert all(sql.startswith("SELECT") for sql in sent_before_hashing[0])


@pytest.mark.parametrize(
    "settings", [Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, signup="closed")]
)
def test_closed_is_closed(http, seed, rows, settings):
    assert http.get("/signup").status_code == 404
    token = page(http.get("/login")).form("Sign in").fields["csrf_token"]
    assert http.post("/signup", data=VALID | {"csrf_token": token}).status_code == 404
    assert rows(COUNT_USERS) == [(0,)]
    for path in ("/", "/login"):
        assert "/signup" not in http.get(path).text


def test_a_new_person_goes_on_with_the_request_that_it_came_with(http, seed):
    seed(a_client(client_name="Notebook"))
    shown = ask(http)
    (link,) = [link["href"] for link in page(shown).all("a") if link["href"].startswith("/signup")]
    shown = http.get(link)
    assert "to continue to Notebook at app.example" in page(shown).text
    answer = press(http, shown, "Create account", **VALID)
    assert answer.headers["Location"].startswith("/oauth/authorize?client_id=web&ticket=")
    assert "Allow" in page(http.get(answer.headers["Location"])).form("Allow").buttons


def test_an_existing_person_is_led_to_the_sign_in_page_and_back(http, seed):
    seed(a_user(), a_client())
    (link,) = [link["href"] for link in page(ask(http)).all("a") if link["href"].startswith("/signup")]
    (link,) = [link["href"] for link in page(http.get(link)).all("a") if link["href"].startswith("/login")]
    answer = press(http, http.get(link), "Sign in", email="ada@example.com", password=PASSWORD)
    assert answer.headers["Location"].startswith("/oauth/authorize?client_id=web&ticket=")
