"""`/login` and `/logout`: who gets in, what a failure tells, and what happens to the browser's session."""

import pytest
from sqlalchemy import func

import crypto.passwords
import store.users
from config import Settings
from models import User, UserSession
from protocol import clock
from services import passwords
from store.user_sessions import PER_USER
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, a_user
from tests.pages.steps import EMAIL, follow, page, press, sign_in, sign_out
from tests.statements import select
from unit_of_work import transaction

COUNT_SESSIONS = select(func.count()).select_from(UserSession)
COOKIE = "__Host-ostiary"


def try_to_sign_in(http, email=EMAIL, password=PASSWORD):
    return press(http, http.get("/login"), "Sign in", email=email, password=password)


def session_of(http):
    with http.session_transaction(base_url=ISSUER) as session:
        return dict(session)


def cookie_of(http):
    cookie = http.get_cookie(COOKIE, domain="op.example")
    return cookie.value if cookie else None


def is_signed_in(http):
    return "You are signed in" in page(http.get("/")).text


@pytest.mark.threat("T030")
def test_the_right_password_signs_in(http, seed, rows):
    seed(a_user())
    answer = try_to_sign_in(http)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "Hello, Ada" in page(http.get("/")).text
    assert rows(COUNT_SESSIONS) == [(1,)]


@pytest.mark.parametrize("email", ["  ADA@Example.com ", "ada@EXAMPLE.COM"])
def test_the_address_may_be_written_in_any_form(http, seed, email):
    seed(a_user())
    assert try_to_sign_in(http, email=email).status_code == 303


FAILURES = {
    "unknown account": {"email": "nobody@example.com"},
    "wrong password": {"password": "not the password"},
    "disabled account": {"email": "disabled@example.com"},
    "account without password": {"email": "passwordless@example.com"},
    "no address": {"email": "ada"},
    "empty": {"email": "", "password": ""},
    "too long": {"password": "x" * 1_025},
    "right, and then too long": {"password": PASSWORD + " " * 1_024},
    "NUL inside": {"password": PASSWORD + "\0"},
    "NUL alone": {"password": "\0"},
}


@pytest.fixture
def accounts(seed):
    seed(
        a_user(),
        a_user(id=2, sub="b", email="disabled@example.com", disabled_at=1),
        a_user(id=3, sub="c", email="passwordless@example.com", password_hash=None),
    )


def form_without_what_was_typed(answer, email):
    """The page's HTML, but for the CSRF token and the address that the person typed."""
    html = answer.text
    token = page(answer).form("Sign in").fields["csrf_token"]
    return html.replace(token, "TOKEN").replace(f' value="{email}"', "")


@pytest.mark.threat("T115")
@pytest.mark.parametrize("typed", FAILURES.values(), ids=FAILURES)
def test_every_failure_looks_the_same(http, rows, accounts, typed):
    answer = try_to_sign_in(http, **typed)
    usual = try_to_sign_in(http, password="wrong for sure")
    assert answer.status_code == usual.status_code == 400
    assert page(answer).form("Sign in").fields["email"] == typed.get("email", EMAIL)
    assert form_without_what_was_typed(answer, typed.get("email", EMAIL)) == form_without_what_was_typed(
        usual, EMAIL
    )
    assert not page(answer).form("Sign in").fields["password"]
    assert rows(COUNT_SESSIONS) == [(0,)]
    assert not is_signed_in(http)


def test_a_missing_field_is_a_failure_like_others(http, seed):
    seed(a_user())
    token = page(http.get("/login")).form("Sign in").fields["csrf_token"]
    assert http.post("/login", data={"csrf_token": token}).status_code == 400


def test_the_failure_is_tied_to_the_fields(http, seed):
    seed(a_user())
    shown = page(try_to_sign_in(http, password="wrong"))
    (alert,) = [attributes for tag, attributes in shown.elements if attributes.get("role") == "alert"]
    for name in ("email", "password"):
        (field,) = [attributes for attributes in shown.all("input") if attributes["name"] == name]
        assert field["aria-invalid"] == "true"
        assert field["aria-describedby"] == alert["id"]
    assert shown.title.startswith("Error")


class CountingArgon2id:
    """Argon2id, with a note of what was derived."""

    def __init__(self, genuine):
        self.genuine = genuine
        self.lengths = []

    def __call__(self, **cost):
        self.lengths.append(None)
        return self.genuine(**cost)

    def verify_phc_encoded(self, password, encoded):
        self.lengths.append(len(password.decode()))
        return self.genuine.verify_phc_encoded(password, encoded)


@pytest.mark.threat("T115", "T117")
@pytest.mark.parametrize("typed", FAILURES.values(), ids=FAILURES)
def test_every_failure_costs_one_derivation(http, accounts, monkeypatch, typed):
    counting = CountingArgon2id(crypto.passwords.Argon2id)
    monkeypatch.setattr(crypto.passwords, "Argon2id", counting)
    assert try_to_sign_in(http, **typed).status_code == 400
    assert len(counting.lengths) == 1
    assert counting.lengths[0] <= passwords.MAXIMUM_LENGTH


@pytest.mark.threat("T115")
@pytest.mark.parametrize(
    "email", [EMAIL, "eve@example.com", "disabled@example.com", "passwordless@example.com", "no address"]
)
@pytest.mark.parametrize(("password", "lengths"), [("cafe\u0301 noir", [9, 10]), ("\u0958" * 1_024, [1_024])])
def test_a_password_in_another_form_costs_the_same_for_every_account(
    http, accounts, monkeypatch, email, password, lengths
):
    counting = CountingArgon2id(crypto.passwords.Argon2id)
    monkeypatch.setattr(crypto.passwords, "Argon2id", counting)
    assert try_to_sign_in(http, email=email, password=password).status_code == 400
    assert counting.lengths == lengths


def test_the_password_is_hashed_before_anything_is_written(http, seed, statements, monkeypatch):
    seed(a_user())
    sent_before_hashing = []
    genuine = passwords.find_form

    def noting(*arguments):
        sent_before_hashing.extend(statements)
        return genuine(*arguments)

    monkeypatch.setattr(passwords, "find_form", noting)
    statements.clear()
    sign_in(http)
    assert sent_before_hashing
    assert all(sql.startswith("SELECT") and "FOR " not in sql for sql in sent_before_hashing)


def test_a_hash_of_other_costs_is_renewed(http, seed, rows, monkeypatch):
    monkeypatch.setattr(crypto.passwords, "ITERATIONS", 1)
    old = passwords.hash_password(PASSWORD)
    monkeypatch.undo()
    seed(a_user(password_hash=old))
    sign_in(http)
    [(renewed,)] = rows(select(User.password_hash))
    assert renewed.startswith(crypto.passwords.PARAMETERS)
    sign_out(http)
    sign_in(http)
    assert rows(select(User.password_hash)) == [(renewed,)]


@pytest.mark.parametrize("typed", ["cafe\u0301 au\u00a0lait noir", "café au\u3000lait noir"])
def test_a_hash_of_what_was_typed_is_renewed(http, seed, rows, typed):
    """As it was before passwords were normalised: of U+0301 and U+00A0 themselves."""
    cost = crypto.passwords.Argon2id(
        salt=b"s" * 16,
        length=32,
        iterations=crypto.passwords.ITERATIONS,
        lanes=1,
        memory_cost=crypto.passwords.MEMORY_KIB,
    )
    old = cost.derive_phc_encoded(typed.encode())
    seed(a_user(password_hash=old))
    # nobody can know what it once was
    assert try_to_sign_in(http, password="café au lait noir").status_code == 400
    sign_in(http, password=typed)
    [(renewed,)] = rows(select(User.password_hash))
    assert renewed != old
    for form in ("café au lait noir", typed, "cafe\u0301 au lait noir"):
        sign_out(http)
        sign_in(http, password=form)
    assert rows(select(User.password_hash)) == [(renewed,)]


# ---- the session -------------------------------------------------------------------------------------------


def cookies_of(answer):
    """The attributes of each cookie that is set, by its name; there is one of each name."""
    pairs = [cookie.split("; ") for cookie in answer.headers.getlist("Set-Cookie")]
    cookies = {first.partition("=")[0]: set(attributes) for first, *attributes in pairs}
    assert len(cookies) == len(pairs)
    return cookies


@pytest.mark.threat("T096")
def test_the_cookie_on_https(http, seed):
    seed(a_user())
    cookies = cookies_of(sign_in(http))
    assert cookies.keys() == {"__Host-ostiary", "__Host-ostiary-device"}
    assert cookies["__Host-ostiary"] == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}
    assert cookies["__Host-ostiary-device"] > {
        "Secure",
        "HttpOnly",
        "Path=/",
        "SameSite=Lax",
        "Max-Age=31536000",
    }


LOOPBACK = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "settings", [Settings(issuer=LOOPBACK, database_url="sqlite://", secret_key=SECRET_KEY)]
)
def test_the_cookie_on_loopback_http(http, seed, settings):
    seed(a_user())
    shown = page(http.get("/login", base_url=LOOPBACK))
    form = shown.form("Sign in").filled("Sign in", email=EMAIL, password=PASSWORD)
    answer = http.post("/login", data=form, base_url=LOOPBACK)
    assert answer.status_code == 303
    cookies = cookies_of(answer)
    assert cookies.keys() == {"ostiary", "ostiary-device"}
    assert cookies["ostiary"] == {"HttpOnly", "Path=/", "SameSite=Lax"}
    assert (
        cookies["ostiary-device"] > {"HttpOnly", "Path=/", "SameSite=Lax"}
        and "Secure" not in cookies["ostiary-device"]
    )
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.threat("T093")
def test_nothing_of_the_old_session_is_left_after_signing_in_or_out(http, seed):
    seed(a_user())
    http.get("/login?next=/oauth/authorize?ticket%3Dx")
    seen = [session_of(http)]
    for change in (sign_in, sign_in, sign_out):
        change(http)
        http.get("/login?next=/oauth/authorize?ticket%3Dx")  # gives the browser a CSRF token again
        seen.append(session_of(http))
    values = [session["csrf_token"] for session in seen]
    assert len(set(values)) == len(values)
    session_ids = [session.get("_user_id") for session in seen]
    assert session_ids[0] is None
    assert session_ids[3] is None
    assert session_ids[1] != session_ids[2]


@pytest.mark.threat("T095")
def test_a_session_cookie_is_dead_after_sign_out(new_browser, http, seed, rows):
    seed(a_user())
    sign_in(http)
    stolen = cookie_of(http)
    assert is_signed_in(new_browser(stolen))
    answer = sign_out(http)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/logout")
    assert "You are signed out" in page(follow(http, answer)).headings
    assert not is_signed_in(new_browser(stolen))
    assert rows(COUNT_SESSIONS) == [(0,)]


@pytest.mark.threat("T093", "T097")
def test_signing_in_again_renews_the_session(new_browser, http, seed, rows):
    seed(a_user())
    sign_in(http)
    stolen = cookie_of(http)
    sign_in(http)
    assert is_signed_in(http)
    assert not is_signed_in(new_browser(stolen))
    assert rows(COUNT_SESSIONS) == [(1,)]


@pytest.mark.threat("T097")
def test_somebody_else_signs_in_beside(http, seed, rows):
    """Each has a session of their own; the present one is who signed in last."""
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com", name="Bo"))
    sign_in(http)
    sign_in(http, email="bo@example.com")
    assert "Hello, Bo" in page(http.get("/")).headings
    assert rows(select(UserSession.user_id).order_by(UserSession.user_id)) == [(1,), (2,)]


@pytest.mark.threat("T093")
def test_a_cookie_planted_before_the_sign_in_is_worth_nothing_after_it(new_browser, http, seed):
    seed(a_user())
    http.get("/login")
    planted = cookie_of(http)
    sign_in(http)
    assert not is_signed_in(new_browser(planted))


@pytest.mark.threat("T095")
def test_a_disabled_person_is_signed_out_at_once(http, seed, app):
    seed(a_user())
    sign_in(http)
    with app.app_context(), transaction():
        store.users.set_disabled(1, clock.now())
    assert not is_signed_in(http)


@pytest.mark.threat("T161")
@pytest.mark.parametrize("cookie", ["", "x", "eyJhIjoxfQ.aaaa.bbbb", "." * 4_000, "\u00e9"])
def test_a_broken_cookie_is_nobody(new_browser, cookie):
    assert new_browser(cookie).get("/").status_code == 200


def test_sign_out_asks_first(http, seed, rows):
    seed(a_user())
    sign_in(http)
    assert page(http.get("/logout")).form("Sign out").method == "post"
    assert rows(COUNT_SESSIONS) == [(1,)]


def test_sign_out_of_nobody_is_harmless(http):
    token = page(http.get("/login")).form("Sign in").fields["csrf_token"]
    assert http.post("/logout", data={"csrf_token": token}).status_code == 303


def test_a_person_keeps_only_so_many_sessions(new_browser, http, seed, rows):
    seed(a_user())
    for _ in range(PER_USER + 2):
        sign_in(new_browser())
    assert rows(COUNT_SESSIONS) == [(PER_USER,)]
