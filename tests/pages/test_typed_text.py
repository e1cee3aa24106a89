"""What people type, at the pages: names and addresses of all scripts, also of accounts that are older than
the rules.
"""

import unicodedata

import pytest
from sqlalchemy import func

from models import User, UserSession
from protocol import typed_text
from tests.builders import PASSWORD, a_client, a_user
from tests.pages.steps import ask, page, press, sign_in, sign_out
from tests.pages.test_login import try_to_sign_in
from tests.pages.test_signup import VALID, problem_of, sign_up
from tests.protocol.test_typed_text import HOSTILE, NAMES, PERSIAN
from tests.statements import select

DIRECTION = "Leave out control characters, and those that turn the direction of writing."
FULL_WIDTH = "ａｄａ@example.com"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_taken_and_shown(http, rows, name):
    assert sign_up(http, name=name).status_code == 303
    assert rows(select(User.name)) == [(name,)]
    assert f"Hello, {name}" in page(http.get("/")).headings


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (f"{PERSIAN}@corp.local", f"{PERSIAN}@corp.local"),
        ("Ada@Srv.Home.Arpa", "ada@srv.home.arpa"),
        ("ada@localhost", "ada@localhost"),
        (unicodedata.normalize("NFD", "nguyễn@example.vn"), "nguyễn@example.vn"),
        ("ａｄａ＠ｅｘａｍｐｌｅ．ｊｐ", "ada@example.jp"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
    ],
    ids=ascii,
)
def test_an_address_is_taken_and_signs_in(http, rows, typed, kept):
    assert sign_up(http, email=typed).status_code == 303
    assert rows(select(User.email)) == [(kept,)]
    for form in (typed, kept):
        sign_out(http)
        sign_in(http, email=form, password=VALID["password"])


@pytest.mark.threat("T117")
@pytest.mark.parametrize("name", [text[:10_000] for text in HOSTILE.values()], ids=HOSTILE)
def test_a_hostile_text_is_refused_at_its_field(http, rows, name):
    for field in ("name", "email"):
        answer = sign_up(http, **{field: name})
        assert (answer.status_code, bool(problem_of(answer, field))) == (400, True)
    assert rows(select(func.count()).select_from(User)) == [(0,)]


@pytest.mark.parametrize("field", ["name", "password"])
def test_a_character_that_cannot_be_seen_is_spoken_of(http, field):
    assert problem_of(sign_up(http, **{field: "Grace\u202e Hopper and more"}), field) == DIRECTION


def test_an_address_in_its_older_form_still_signs_in(http, seed):
    seed(a_user(email=FULL_WIDTH), a_client())
    sign_in(http, email=FULL_WIDTH)
    assert page(ask(http, prompt="consent", login_hint=FULL_WIDTH)).form("Allow")
    sign_out(http)
    assert try_to_sign_in(http, email="ada@example.com").status_code == 400


def test_an_address_in_its_older_form_is_nobody_elses(http, seed, rows):
    """Whoever typed full-width letters is meant first; whoever did not never is."""
    seed(a_user(email=FULL_WIDTH, name="Old"))
    assert "Sign in instead" in problem_of(sign_up(http, email=FULL_WIDTH), "email")
    assert sign_up(http, email="ada@example.com").status_code == 303
    assert rows(select(User.email).order_by(User.id)) == [(FULL_WIDTH,), ("ada@example.com",)]
    for email, password, name in (
        (FULL_WIDTH, PASSWORD, "Old"),
        ("ADA@example.com", VALID["password"], "Grace Hopper"),
    ):
        sign_out(http)
        sign_in(http, email=email, password=password)
        assert f"Hello, {name}" in page(http.get("/")).headings


def test_letters_of_every_script_can_be_typed_into_the_field(http):
    """Browsers refuse them in a field of the type `email`, before anything is sent."""
    for path in ("/login", "/signup"):
        [field] = [field for field in page(http.get(path)).all("input") if field["name"] == "email"]
        assert (field["type"], field["inputmode"]) == ("text", "email")


def test_a_hint_that_turns_the_direction_of_writing_is_left_out(http, seed):
    seed(a_user(), a_client())
    for hint, shown in (("ada@example.com", "ada@example.com"), ("ada\u202e@example.com", "")):
        assert page(ask(http, login_hint=hint)).form("Sign in").fields.get("email", "") == shown


def test_the_label_of_a_session_is_bounded_and_clean(http, seed, rows):
    seed(a_user())
    agent = "Firefox/\x85\x9b Windows \u00e9" + "x" * 5_000
    form = (
        page(http.get("/login")).form("Sign in").filled("Sign in", email="ada@example.com", password=PASSWORD)
    )
    assert http.post("/login", data=form, headers={"User-Agent": agent}).status_code == 303
    [(kept,)] = rows(select(UserSession.user_agent))
    assert (kept[:20], len(kept), typed_text.find_forbidden(kept)) == ("Firefox/ Windows éxx", 300, "")
    assert "Firefox on Windows" in http.get("/account/sessions").text


def test_the_same_password_in_another_form_is_no_new_one(http, seed):
    seed(a_user())
    sign_in(http)
    shown = http.get("/account/password")
    answer = press(
        http, shown, "Change password", password=PASSWORD, new_password=PASSWORD.replace(" ", "\u00a0")
    )
    assert answer.status_code == 400
    assert "the same password again" in answer.text
