"""Cookies that were planted, stolen or bent, people who change places at one browser, and words that somebody
made hostile.
"""

import re

import pytest
from flask import session
from pydantic import SecretStr
from sqlalchemy import func

import crypto.passwords
from app import create_app
from models import AuthorizationCode, Scope, User, db
from services.current import state_of
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, a_client, a_user
from tests.conftest import Browser
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
    ticket_of,
)
from tests.pages.test_login import CountingArgon2id
from tests.statements import select

COOKIE = "__Host-ostiary"
COUNT_CODES = select(func.count()).select_from(AuthorizationCode)
NOBODY = ["One account for your applications"]


def value_of(http, name=COOKIE):
    return http.get_cookie(name, domain="op.example").value


def with_cookies(text):
    return {"Cookie": text}


@pytest.fixture
def ada(http, seed):
    """A browser that Ada is signed in with; she has allowed the client "web" something."""
    seed(a_user(), a_client())
    sign_in(http)
    press(http, ask(http), "Allow")
    return http


# ---- cookies -----------------------------------------------------------------------------------------------


@pytest.mark.threat("T094")
@pytest.mark.parametrize("name", [f"{COOKIE}-device", "remember_token", "session", "ostiary"])
def test_no_other_cookie_signs_anybody_in(ada, app, name):
    """Neither that of a known device, nor one that Flask-Login would have set."""
    device, signed_in = value_of(ada, f"{COOKIE}-device"), value_of(ada)
    stranger = app.test_client()
    for value in {device, signed_in, "1", f"1|{device}"}:
        cookies = with_cookies(f"{name}={value}")
        assert page(stranger.get("/", headers=cookies)).headings == NOBODY
        answer = stranger.get(authorization_path(), headers=cookies)
        assert answer.headers["Location"].startswith("/login?")


@pytest.mark.threat("T161")
@pytest.mark.parametrize(
    "template",
    [
        "={value}",
        "=={value}",
        "={name}={value}",
        '=""; ={name}={value}',
        "{value}",
        "{name}",
        "{name}; {value}",
        '{name}="',
        "{name}=x; {name}=y",
        "{name}=x; {name}={value}x",
        "{lower}={value}",
        "a={name}={value}",
        "{name}={value}" + "x" * 8_192,
        "{name}=" + "x" * 8_192,
        "x=" + "y" * 8_192,
        "; " * 4_000,
        "{name}=\xff",
        "{name}=%00",
    ],
)
def test_a_bent_cookie_is_nobodys(ada, app, template):
    cookies = with_cookies(template.format(name=COOKIE, lower=COOKIE.lower(), value=value_of(ada)))
    stranger = app.test_client(use_cookies=False)
    for path in ("/", "/login", "/logout", "/nowhere"):
        answer = stranger.get(path, headers=cookies)
        assert answer.status_code in (200, 404)
        assert "Ada" not in answer.text
    assert stranger.get(authorization_path(), headers=cookies).headers["Location"].startswith("/login?")


def app_with_keys(app, key, *old_keys):
    """The same server with other keys, on a database of its own."""
    keys = {"secret_key": SecretStr(key), "old_secret_keys": tuple(SecretStr(old) for old in old_keys)}
    other = create_app(state_of(app).settings.model_copy(update=keys))
    other.test_client_class = Browser
    with other.app_context():
        db.create_all()
        db.session.add(a_user())
        db.session.commit()
    return other


@pytest.mark.threat("T096")
def test_cookies_are_signed_with_the_newest_key_and_read_with_old_ones_too(app):
    new_key = "n" * 32
    old, both, new = (
        app_with_keys(app, SECRET_KEY),
        app_with_keys(app, new_key, SECRET_KEY),
        app_with_keys(app, new_key),
    )

    def is_read(app, cookie):
        """Whether this app finds the form's secret in a cookie."""
        with app.test_request_context(base_url=ISSUER, headers=with_cookies(f"{COOKIE}={cookie}")):
            return "csrf_token" in session

    def cookie_of(app):
        http = app.test_client()
        http.get("/login?next=/oauth/authorize?ticket%3Dx")
        return value_of(http)

    assert is_read(old, cookie_of(old)) and is_read(both, cookie_of(old)) and not is_read(new, cookie_of(old))
    assert (
        is_read(new, cookie_of(both)) and is_read(both, cookie_of(both)) and not is_read(old, cookie_of(both))
    )


# ---- two people, one browser -------------------------------------------------------------------------------


@pytest.fixture
def with_bo(ada, seed):
    seed(
        a_user(id=2, sub="b", email="bo@example.com", name="Bo"),
        a_client(client_id="second", client_name="Second"),
    )
    return ada


@pytest.mark.threat("T097")
def test_who_turns_to_another_account_and_cancels_changes_nobody(with_bo, rows):
    """ "Use another account" signs nobody out: until somebody else has signed in, the page that is open is
    Ada's.
    """
    old_tab = ask(with_bo, client_id="second")
    assert page(go(with_bo, old_tab, "Use another account")).headings == ["Sign in"]
    answer_to_client(press(with_bo, old_tab, "Allow"))
    assert rows(select(AuthorizationCode.user_id).where(AuthorizationCode.client_id == "second")) == [(1,)]


@pytest.mark.threat("T097")
def test_who_signs_in_where_somebody_was_answers_for_nobody_else(with_bo, rows):
    """Under a new session, and not for a page that the other person had open."""
    old_tab, stolen = ask(with_bo, client_id="second"), value_of(with_bo)
    sign_in(with_bo, email="bo@example.com")
    assert value_of(with_bo) != stolen
    assert press(with_bo, old_tab, "Allow").status_code == 400
    assert rows(select(AuthorizationCode.user_id).where(AuthorizationCode.client_id == "second")) == []
    shown = page(ask(with_bo))  # what Ada allowed is hers
    assert shown.headings == ["Web asks for access"] and "Your account Bo" in shown.text


@pytest.mark.threat("T097")
def test_a_failed_sign_in_changes_nobody(with_bo):
    assert (
        press(with_bo, with_bo.get("/login"), "Sign in", email="bo@example.com", password="x").status_code
        == 400
    )
    assert page(with_bo.get("/")).headings == ["Hello, Ada"]


@pytest.mark.threat("T102")
def test_a_request_that_comes_along_is_answered_for_who_is_shown(with_bo, rows):
    """A ticket belongs to the session that it was put before; the person who decides is the one that the page
    names.
    """
    first = ask(with_bo, client_id="second")
    login = go(with_bo, first, "Use another account")
    press(with_bo, login, "Sign in", email="bo@example.com", password=PASSWORD)
    shown = with_bo.get(f"/oauth/authorize?ticket={ticket_of(first)}")
    assert "Your account Bo" in page(shown).text
    answer_to_client(press(with_bo, shown, "Allow"))
    assert rows(select(AuthorizationCode.user_id).where(AuthorizationCode.client_id == "second")) == [(2,)]


@pytest.mark.threat("T102")
def test_a_ticket_is_256_random_bits(ada):
    tickets = {ticket_of(ask(ada, scope="email", state=str(number))) for number in range(20)}
    assert len(tickets) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", ticket) for ticket in tickets)
    assert len({ticket[:4] for ticket in tickets}) == 20  # nothing in it counts


# ---- hostile words -----------------------------------------------------------------------------------------

HOSTILE = 'Evil\u202e\u2066 <script>alert(1)</script> "><img src=x onerror=y> {{ 7*7 }} '


def is_inert(answer):
    """Whether the page has no element that our templates did not write."""
    shown = page(answer)
    images = [image["src"] for image in shown.all("img")]
    return (
        not shown.all("script")
        and all(source.startswith("/static/") for source in images)
        and not shown.open_tags
    )


@pytest.mark.threat("T105")
def test_words_of_a_scope_a_person_and_a_client_are_text(http, seed, app):
    seed(
        Scope(name="evil", description=HOSTILE),
        a_user(name=HOSTILE),
        a_client(client_name=HOSTILE, scope="profile evil"),
    )
    sign_in(http)
    shown = ask(http, scope="profile evil")
    assert is_inert(shown)
    assert shown.text.count("<bdi>Evil\u202e\u2066") >= 3  # each alone in its direction of writing
    assert is_inert(http.get("/"))


@pytest.mark.threat("T105")
@pytest.mark.parametrize(
    "name", ["login_hint", "error_description", "client_name", "error", "problem", "next"]
)
def test_words_in_an_address_are_not_shown(http, seed, name):
    seed(a_client())
    for length in (1, 100):
        hostile = HOSTILE * length
        for path in ("/login", "/signup", "/logout", "/"):
            answer = http.get(path, query_string={name: hostile})
            assert answer.status_code == 200
            assert is_inert(answer) and "Evil" not in page(answer).text
        answer = follow(http, http.get(authorization_path(**{name: hostile})))
        assert answer.status_code == 200
        assert is_inert(answer) and "Evil" not in page(answer).text


# ---- passwords as weapons ----------------------------------------------------------------------------------


@pytest.fixture
def derivations(monkeypatch):
    """Lengths of what was given to the password hash."""
    counting = CountingArgon2id(crypto.passwords.Argon2id)
    monkeypatch.setattr(crypto.passwords, "Argon2id", counting)
    return counting.lengths


TOO_LONG = {
    "4,097 characters": "x" * 4_097,
    "4,097 characters of 4 bytes": "\U0001f600" * 4_097,
    "the right one and more": PASSWORD + "x" * 4_000,
}


@pytest.mark.threat("T117")
@pytest.mark.parametrize("password", TOO_LONG.values(), ids=TOO_LONG)
def test_a_long_password_is_not_hashed(http, seed, derivations, password):
    """At sign-in the usual price is paid for an empty one, so that nobody can tell by the time."""
    seed(a_user())
    assert press(http, http.get("/login"), "Sign in", email=EMAIL, password=password).status_code == 400
    assert derivations == [0]
    form = {"name": "Bo", "email": "bo@example.com", "password": password}
    assert press(http, http.get("/signup"), "Create account", **form).status_code == 400
    assert derivations == [0]


@pytest.mark.threat("T117")
@pytest.mark.parametrize("path", ["/login", "/signup"])
def test_a_password_of_a_megabyte_is_not_even_read(http, derivations, path):
    token = page(http.get(path)).forms[0].fields["csrf_token"]
    form = {"name": "Bo", "email": EMAIL, "password": "x" * 1_000_000, "csrf_token": token}
    assert http.post(path, data=form).status_code == 413
    assert derivations == []


@pytest.mark.threat("T117")
def test_a_password_with_nul_is_not_chosen(http, derivations, rows):
    form = {"name": "Bo", "email": "bo@example.com", "password": "long enough\0but with NUL"}
    assert press(http, http.get("/signup"), "Create account", **form).status_code == 400
    assert derivations == []
    assert rows(select(User.id)) == []


# ---- error pages -------------------------------------------------------------------------------------------


@pytest.mark.threat("T158")
def test_a_page_about_a_bug_gives_a_number_and_nothing_else(app, http, caplog):
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/buggy")
    def buggy():
        raise ValueError("the secret input")

    answer = http.get("/buggy?also=secret")
    assert answer.status_code == 500
    assert answer.headers["Request-Id"] in page(answer).text
    assert "secret" not in answer.text + caplog.text
    assert "Traceback" not in answer.text and "buggy" not in answer.text
