"""What holds of every page: headers, well-formed and accessible HTML, no script, nothing from elsewhere.

The demo's page, which is there on a loopback issuer only, has a script of this site: `test_demo.py`.
"""

import re
from urllib.parse import urlsplit

import pytest

from models import Consent
from tests.builders import a_client, a_notice, a_session, a_user
from tests.pages.steps import ask, authorization_path, follow, page, press, sign_in

HOSTILE = 'Evil\u202e\u2066 <script>alert(1)</script> "><img src=x onerror=y> {{ 7*7 }} ' + "w" * 90


def sign_in_page(http):
    return http.get("/login")


def sign_in_page_for_a_client(http):
    return ask(http)


def failed_sign_in(http):
    return press(http, http.get("/login"), "Sign in", email='"><script>@example.com', password="wrong")


def sign_in_page_of_somebody(http):
    sign_in(http)
    return http.get("/login")


def sign_up_page(http):
    return http.get("/signup")


def failed_sign_up(http):
    return press(http, http.get("/signup"), "Create account", name="", email='"><script>', password="x")


def home_of_nobody(http):
    return http.get("/")


def home(http):
    sign_in(http)
    return http.get("/")


def consent(http):
    sign_in(http)
    return ask(http, scope="profile email read offline_access")


def consent_again(http):
    sign_in(http)
    press(http, ask(http), "Allow")
    return ask(http, scope="profile email")


def consent_without_scopes(http):
    sign_in(http)
    return ask(http, client_id="modest", scope=None)


def consent_for_an_application_on_the_device(http):
    sign_in(http)
    return ask(http, client_id="native", redirect_uri="com.example.app:/cb")


def account(http):
    sign_in(http)
    return http.get("/account/")


def account_beside_another(http):
    sign_in(http, email="bo@example.com")
    sign_in(http)
    return http.get("/account/")


def where_signed_in(http):
    sign_in(http)
    press(http, ask(http), "Allow")
    return http.get("/account/sessions")


def signed_out_there(http):
    sign_in(http)
    return follow(http, press(http, http.get("/account/sessions"), "Sign out everywhere else"))


def not_signed_in_there(http):
    sign_in(http)
    form = page(http.get("/account/sessions")).form("Sign out everywhere")
    return http.post(form.url, data=form.fields | {"end": "<script>"})


def receipts(http):
    sign_in(http)
    return http.get("/account/sign-outs")


def no_receipts(http):
    sign_in(http, email="bo@example.com")
    return http.get("/account/sign-outs")


def password_page(http):
    sign_in(http)
    return http.get("/account/password")


def failed_change_of_password(http):
    sign_in(http)
    return press(
        http, http.get("/account/password"), "Change password", password="<b>wrong", new_password="<b>" * 12
    )


def new_password_that_will_not_do(http):
    sign_in(http)
    return press(http, http.get("/account/password"), "Change password", password="wrong", new_password="<b>")


def allowed_applications(http):
    sign_in(http)
    return http.get("/account/applications")


def no_applications(http):
    sign_in(http, email="bo@example.com")
    return http.get("/account/applications")


def application_without_access(http):
    sign_in(http)
    form = page(http.get("/account/applications")).forms[0]
    return http.post(form.url, data=form.fields | {"client": "<script>"})


def sign_out_page(http):
    sign_in(http)
    return http.get("/logout")


def signed_out(http):
    return http.get("/logout")


def signed_out_and_told(http):
    sign_in(http)
    press(http, ask(http), "Allow")
    return follow(http, press(http, http.get("/logout"), "Sign out"))


def not_found(http):
    return http.get("/nowhere/<script>")


def demo_of_production(http):
    return http.get("/demo")


def wrong_method(http):
    return http.delete("/login")


def form_out_of_date(http):
    return http.post("/login", data={"email": "x"})


def from_another_site(http):
    return http.post("/login", headers={"Sec-Fetch-Site": "cross-site"})


def too_large(http):
    return http.post("/login", data={"password": "x" * 100_000})


def unknown_client(http):
    return http.get(authorization_path(client_id="<script>"))


def unregistered_redirect_uri(http):
    return http.get(authorization_path(redirect_uri="https://evil.example/<script>"))


def closed_request(http):
    return http.get("/oauth/authorize?ticket=<script>")


PAGES = {
    sign_in_page: 200,
    sign_in_page_for_a_client: 200,
    failed_sign_in: 400,
    sign_in_page_of_somebody: 200,
    sign_up_page: 200,
    failed_sign_up: 400,
    home_of_nobody: 200,
    home: 200,
    consent: 200,
    consent_again: 200,
    consent_without_scopes: 200,
    consent_for_an_application_on_the_device: 200,
    account: 200,
    account_beside_another: 200,
    where_signed_in: 200,
    signed_out_there: 200,
    not_signed_in_there: 404,
    receipts: 200,
    no_receipts: 200,
    password_page: 200,
    failed_change_of_password: 400,
    new_password_that_will_not_do: 400,
    allowed_applications: 200,
    no_applications: 200,
    application_without_access: 404,
    sign_out_page: 200,
    signed_out: 200,
    signed_out_and_told: 200,
    not_found: 404,
    demo_of_production: 404,
    wrong_method: 405,
    form_out_of_date: 400,
    from_another_site: 400,
    too_large: 413,
    unknown_client: 400,
    unregistered_redirect_uri: 400,
    closed_request: 400,
}


@pytest.fixture(scope="module")
def shown():
    """The answer of each page, which is asked for once."""
    return {}


@pytest.fixture(params=PAGES, ids=lambda show: show.__name__)
def answer(request, shown):
    show = request.param
    if show not in shown:
        request.getfixturevalue("write_rows")
        shown[show] = show(request.getfixturevalue("http"))
        assert shown[show].status_code == PAGES[show]
        assert shown[show].data
    return shown[show]


@pytest.fixture
def write_rows(seed):
    seed(
        a_user(name="Ada <b>"),
        a_user(id=2, sub="b", email="bo@example.com", name=""),
        a_client(
            client_name=HOSTILE,
            scope="profile email read",
            extra_metadata={"backchannel_logout_uri": "https://app.example/logout"},
        ),
        a_client(client_id="modest", scope=""),
        a_client(client_id="native", redirect_uris=["com.example.app:/cb"]),
        a_client(client_id="allowed", redirect_uris=["com.example.app:/cb"], client_name=HOSTILE),
        a_client(client_id="known"),
        Consent(user_id=1, client_id="allowed", scope="profile <b>", granted_at=1),
        Consent(user_id=1, client_id="known", scope="", granted_at=1),
        a_session(7, user_agent=HOSTILE, remote_addr="<b>"),
        a_notice(delivered_at=1, next_attempt_at=None, attempts=2, created_at=1),
        a_notice(client_id="known", attempts=1, created_at=1),
        a_notice(client_id="allowed", next_attempt_at=None, attempts=6, outcome="<b>"),
    )


@pytest.mark.threat("T103", "T104", "T107", "T159")
def test_headers(answer):
    headers = answer.headers
    policy = dict(directive.split(" ", 1) for directive in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("form-action", None) in ("'self'", None)  # none where the form may end at a client
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "font-src": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.threat("T104", "T107")
def test_no_script_and_nothing_from_elsewhere(answer):
    shown = page(answer)
    assert not {"script", "style", "iframe", "object", "embed", "base", "svg"} & {
        tag for tag, _ in shown.elements
    }
    for tag, attributes in shown.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "action", "formaction", "srcset", "poster"):
            parts = urlsplit(attributes.get(name) or "/")
            assert not parts.scheme, (tag, attributes)
            assert not parts.netloc, (tag, attributes)
            assert parts.path.startswith("/"), (tag, attributes)


@pytest.mark.threat("T105")
def test_what_others_wrote_is_text(answer):
    assert "<script" not in answer.text
    assert "<img src=x" not in answer.text
    assert "<b>" not in answer.text
    assert "49" not in page(answer).headings


def test_the_frame_of_a_page(answer):
    shown = page(answer)
    assert not shown.open_tags
    assert len(shown.headings) == 1
    assert shown.headings[0].strip()
    assert re.fullmatch(r".+ – Ostiary", shown.title)
    assert shown.all("html") == [{"lang": "en"}]
    assert [len(shown.all(landmark)) for landmark in ("header", "main", "footer")] == [1, 1, 1]
    assert any(meta.get("name") == "viewport" for meta in shown.all("meta"))
    assert len([link for link in shown.all("link") if link["rel"] == "stylesheet"]) == 1
    assert all("alt" in image for image in shown.all("img"))


def test_fields_have_labels_and_names_for_password_managers(answer):
    shown = page(answer)
    labelled = {label["for"] for label in shown.all("label")}
    expected = {
        "email": {"username"},
        "name": {"name"},
        "password": {"current-password", "new-password"},
        "new_password": {"new-password"},
    }
    for field in shown.all("input"):
        if field["type"] == "hidden":
            continue
        assert field["id"] in labelled
        if field["type"] == "checkbox":
            assert "required" not in field
            continue
        assert field["autocomplete"] in expected[field["name"]]
        assert "required" in field
        assert "maxlength" not in field  # it would cut a pasted password short, without a word


def test_ids_are_unique_and_references_lead_somewhere(answer):
    shown = page(answer)
    ids = [attributes["id"] for _tag, attributes in shown.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _tag, attributes in shown.elements:
        for name in ("aria-describedby", "aria-labelledby", "for"):
            assert set(attributes.get(name, "").split()) <= set(ids)


def test_every_form_is_a_post_with_a_token(answer):
    for form in page(answer).forms:
        assert form.method == "post"
        assert form.fields["csrf_token"]


def test_an_error_page_gives_the_number_that_the_log_has(answer):
    if answer.status_code >= 400 and not page(answer).forms:
        assert answer.headers["Request-Id"] in page(answer).text


@pytest.mark.threat("T105")
def test_names_cannot_turn_our_words_around(http, seed):
    """Marks of writing direction in a client's name stay inside of it."""
    seed(a_user(), a_client(client_name=HOSTILE))
    for shown in (ask(http), (sign_in(http), ask(http))[1]):
        assert re.search(r"<bdi>Evil\u202e\u2066 .*?</bdi>", shown.text)
    assert "\u2068Evil\u202e" in page(shown).title


@pytest.mark.threat("T160")
def test_under_another_name_there_are_no_pages(http):
    answer = http.get("/login", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.content_type) == (400, "text/html; charset=utf-8")
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "<form" not in answer.text
    assert "evil" not in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.threat("T159")
def test_answers_differ_by_cookie(http, seed):
    """A shared cache must not give one person's page to another, even if it forgets no-store."""
    seed(a_user())
    sign_in(http)
    assert "Cookie" in http.get("/").headers["Vary"]
