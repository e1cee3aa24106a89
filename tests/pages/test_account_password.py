"""`/account/password`: the present password is proven, guesses are slowed down, and what the old one opened
is closed.
"""

import pytest
from sqlalchemy import func

import crypto.passwords
import store.users
from config import Settings
from models import AuthorizationCode, LogoutNotice, Throttle, Token, User, UserSession
from services import passwords
from services.current import state_of
from services.sessions import revoke_sessions
from tests.builders import (
    ISSUER,
    PASSWORD,
    SECRET_KEY,
    a_client,
    a_client_session,
    a_code,
    a_refresh_token,
    a_session,
    a_token,
    a_user,
    basic,
    refresh_request,
)
from tests.pages.steps import EMAIL, ask, follow, page, press, sign_in, sign_out
from tests.pages.test_login import CountingArgon2id, cookie_of, is_signed_in, session_of
from tests.services.test_sessions import a_notified_client
from tests.statements import select
from unit_of_work import transaction

NEW = "another long password"
PATH = "/account/password"
HASH = select(User.password_hash).where(User.id == 1)


@pytest.fixture(scope="module")
def settings():
    return Settings(
        issuer=ISSUER,
        database_url="sqlite://",
        secret_key=SECRET_KEY,
        failed_sign_ins_per_account_and_address=5,
        throttle_period=600,
    )


@pytest.fixture
def ada(http, seed):
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com"), a_notified_client())
    sign_in(http)
    return http


def change(http, password=PASSWORD, new_password=NEW):
    return press(http, http.get(PATH), "Change password", password=password, new_password=new_password)


def test_the_new_password_takes_the_place_of_the_old_one(ada, rows):
    answer = change(ada)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account/")
    assert "Your password is changed." in page(follow(ada, answer)).text
    [(password_hash,)] = rows(HASH)
    assert passwords.is_right(NEW, password_hash)
    sign_out(ada)
    assert press(ada, ada.get("/login"), "Sign in", email=EMAIL, password=PASSWORD).status_code == 400
    assert sign_in(ada, password=NEW).status_code == 303


def test_this_session_goes_on_under_new_ids(sleep, ada, new_browser, rows):
    before, stolen = session_of(ada), cookie_of(ada)
    [row] = rows(select(UserSession.id, UserSession.created_at))
    ada.get(PATH)
    sleep(60)
    change(ada)
    ada.get(PATH)
    assert is_signed_in(ada)
    assert not is_signed_in(new_browser(stolen))
    after = session_of(ada)
    assert not [
        name for name in ("_user_id", "browser", "csrf_token") if before.get(name, "") == after.get(name)
    ]
    assert rows(select(UserSession.id, UserSession.created_at)) == [row]
    # the person has just proven it
    assert rows(select(UserSession.auth_time - UserSession.created_at)) == [(60,)]


def test_what_the_old_password_opened_is_closed(ada, seed, rows):
    press(ada, ask(ada), "Allow")
    [(code_of_this_session,)] = rows(select(AuthorizationCode.sid))
    here = a_refresh_token()
    seed(
        a_session(7),
        a_session(8, user_id=2),
        a_client_session("sid-7", session_id=7),
        a_code("c", sid="sid-7"),
        a_code("d"),
        a_code("e", user_id=2),
        a_token(here, sid=code_of_this_session),
        a_token(slot=1, sid="sid-7"),
        a_token(slot=2, sid="sid-7", scope="openid offline_access"),
        a_token(slot=3, sid="sid of a session that is gone"),
        a_token(slot=4),
        a_token(user_id=2, sid="sid-7"),
    )
    change(ada)
    assert rows(select(UserSession.id).order_by(UserSession.id)) == [(1,), (8,)]
    assert rows(select(AuthorizationCode.user_id)) == [(2,)]
    assert rows(select(Token.user_id, Token.slot).order_by(Token.user_id)) == [(1, 0), (2, 0)]
    assert rows(select(LogoutNotice.sid)) == [("sid-7",)]
    assert ada.post("/oauth/token", data=refresh_request(here), auth=basic()).status_code == 200


def test_other_accounts_of_this_browser_stay(ada, rows):
    sign_in(ada, email="bo@example.com")
    change(ada)
    assert rows(select(UserSession.user_id).order_by(UserSession.user_id)) == [(1,), (2,)]
    assert "This is the account of bo@example.com." in page(ada.get("/account/")).text
    assert ada.get("/accounts").text.count("<button") == 2


def test_a_session_that_was_ended_meanwhile_is_a_new_one(ada, seed, rows, app, monkeypatch):
    """A sign-out everywhere that comes while the password is hashed: the person has proven both, so they are
    signed in anew.
    """
    genuine = passwords.hash_new

    def slowly(new):
        with app.app_context(), transaction():
            revoke_sessions(1)
        return genuine(new)

    monkeypatch.setattr(passwords, "hash_new", slowly)
    assert change(ada).status_code == 303
    assert is_signed_in(ada)
    assert rows(select(UserSession.id)) == [(2,)]


# ---- refusals ----------------------------------------------------------------------------------------------


def refused(answer, status, problem):
    shown = page(answer)
    assert answer.status_code == status
    assert problem in shown.text
    assert shown.title.startswith("Error")
    assert not [field for field in shown.all("input") if field["type"] == "password" and field.get("value")]
    return shown


@pytest.mark.parametrize("password", ["wrong", "", PASSWORD + " ", PASSWORD.upper(), "x" * 2_000, "\0"])
def test_a_wrong_present_password(ada, rows, password):
    before = rows(HASH)
    shown = refused(change(ada, password), 400, "This is not your present password.")
    [field] = [field for field in shown.all("input") if field["name"] == "password"]
    assert (field["aria-invalid"], field["aria-describedby"]) == ("true", "password-problem")
    assert rows(HASH) == before
    assert is_signed_in(ada)


@pytest.mark.parametrize(
    ("new_password", "problem"),
    [
        ("", "Use at least 12 characters."),
        ("x" * 11, "Use at least 12 characters."),
        ("x" * 1_025, "Use at most 1,024 characters."),
        (
            "with\0NUL, and long",
            "Leave out control characters, and those that turn the direction of writing.",
        ),
        (PASSWORD, "This is the same password again."),
    ],
)
def test_a_new_password_that_will_not_do_is_not_hashed(ada, rows, monkeypatch, new_password, problem):
    counting = CountingArgon2id(crypto.passwords.Argon2id)
    monkeypatch.setattr(crypto.passwords, "Argon2id", counting)
    before = rows(HASH)
    refused(change(ada, new_password=new_password), 400, problem)
    assert (rows(HASH), counting.lengths) == (before, [])
    assert rows(select(func.count()).select_from(Throttle)) == [(0,)]


@pytest.mark.parametrize("missing", ["password", "new_password"])
def test_a_missing_field_is_a_mistake_like_others(ada, missing):
    fields = (
        page(ada.get(PATH))
        .form("Change password")
        .filled("Change password", password=PASSWORD, new_password=NEW)
    )
    fields.pop(missing)
    assert ada.post(PATH, data=fields).status_code == 400


@pytest.mark.usefixtures("sleep")
def test_guesses_are_failed_sign_ins(ada, new_browser, rows):
    """Whoever found an open browser does not get to try passwords without end, and the right one does not
    help then.
    """
    assert [change(ada, "wrong").status_code for _time in range(6)] == [400] * 5 + [429]
    answer = change(ada)
    refused(answer, 429, "Too many tries. Please wait 2 minutes, then try again.")
    assert answer.headers["Retry-After"] == "120"
    assert press(ada, ada.get("/login"), "Sign in", email=EMAIL, password=PASSWORD).status_code == 429
    assert sign_in(new_browser()).status_code == 303
    assert rows(select(UserSession.user_id)) == [(1,), (1,)]


def test_when_too_many_passwords_are_hashed_the_form_comes_back_with_503(ada, app, rows):
    slots = state_of(app).password_hashes
    before = rows(HASH)
    shown = ada.get(PATH)
    with slots.acquire(), slots.acquire():
        answer = press(ada, shown, "Change password", password=PASSWORD, new_password=NEW)
    refused(answer, 503, "Please try again in a few seconds.")
    assert answer.headers["Retry-After"] == "2"
    assert rows(HASH) == before
    assert rows(select(func.count()).select_from(Throttle)) == [(0,)]
    with slots.acquire():
        assert change(ada).status_code == 303


def test_the_passwords_are_hashed_before_anything_is_locked(ada, statements, monkeypatch):
    sent_before_hashing = []
    genuine = passwords.hash_password

    def noting(*arguments):
        sent_before_hashing.extend(statements)
        return genuine(*arguments)

    shown = ada.get(PATH)
    monkeypatch.setattr(passwords, "hash_password", noting)
    statements.clear()
    press(ada, shown, "Change password", password=PASSWORD, new_password=NEW)
    assert sent_before_hashing
    assert all(sql.startswith("SELECT") and "FOR " not in sql for sql in sent_before_hashing)


@pytest.mark.parametrize("happens", ["another password", "disabled"])
def test_what_was_checked_must_hold_still(ada, app, rows, monkeypatch, happens):
    """Another change comes between the check and the lock: it wins."""
    genuine = passwords.hash_new

    def slowly(new):
        with app.app_context(), transaction():
            if happens == "disabled":
                store.users.set_disabled(1, 1)
            else:
                store.users.set_password_hash(1, "of somebody faster")
        return genuine(new)

    before = rows(HASH)
    monkeypatch.setattr(passwords, "hash_new", slowly)
    refused(change(ada), 400, "This is not your present password.")
    assert rows(HASH) == ([("of somebody faster",)] if happens == "another password" else before)
    assert rows(select(UserSession.id)) == [(1,)]


def test_somebody_without_a_password_has_none_to_change(http, seed, app):
    seed(a_user(), a_client())
    sign_in(http)
    with app.app_context(), transaction():
        store.users.set_password_hash(1, None)
    refused(change(http, ""), 400, "This is not your present password.")


def test_password_managers_find_the_way(http):
    answer = http.get("/.well-known/change-password")
    assert (answer.status_code, answer.headers["Location"]) == (303, PATH)
    assert "Set-Cookie" not in answer.headers


def test_the_fields_are_named_for_password_managers(ada):
    found = [
        (field["name"], field["autocomplete"])
        for field in page(ada.get(PATH)).all("input")
        if "autocomplete" in field
    ]
    assert found == [
        ("email", "username"),
        ("password", "current-password"),
        ("new_password", "new-password"),
    ]
    assert page(ada.get(PATH)).form("Change password").fields["email"] == EMAIL


def test_the_account_is_the_present_one_whatever_the_form_says(ada, rows):
    """The address in the form is for password managers; it is not read."""
    shown = ada.get(PATH)
    answer = press(ada, shown, "Change password", email="bo@example.com", password=PASSWORD, new_password=NEW)
    assert answer.status_code == 303
    hashes = dict(rows(select(User.email, User.password_hash)))
    assert passwords.is_right(NEW, hashes[EMAIL])
    assert passwords.is_right(PASSWORD, hashes["bo@example.com"])
