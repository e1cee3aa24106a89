"""The application as a whole: it starts, it tells that it lives, and it refuses to start wrongly."""

import logging
from inspect import iscoroutinefunction

import pytest
from flask import Flask

from app import create_app
from config import Settings
from errors import ConfigError
from tests.builders import ISSUER, SECRET_KEY, a_user


def test_it_lives_on_any_host(http):
    answer = http.get("/healthz", headers={"Host": "10.0.0.7"})
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_it_is_not_ready_before_it_is_migrated(http):
    assert http.get("/readyz").status_code == 503


@pytest.mark.threat("T160")
def test_it_answers_for_its_own_host_only(http):
    answer = http.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "evil" not in answer.text


def test_each_page_varies_by_its_cookies(http):
    """Also one that no view has made. What programs get has none."""
    pages = [http.get("/login"), http.get("/nothing"), http.get("/login", headers={"Host": "evil.example"})]
    assert [answer.headers.get("Vary") for answer in pages] == ["Cookie"] * 3
    assert "Vary" not in http.get("/oauth/jwks").headers


def test_around_every_request_there_is_what_it_needs_and_no_more(app):
    """Each hook runs for programs too, so one that a library adds is noticed. Flask-WTF's does nothing."""
    before, after = app.before_request_funcs, app.after_request_funcs
    assert [hook.__name__ for hook in before[None]] == ["check_request", "csrf_protect"]
    assert [hook.__name__ for hook in after[None]] == ["finish"]
    assert not [name for name in {*before, *after} - {None} if before[name] or after[name]]
    assert not app.teardown_request_funcs and not app.url_value_preprocessors


def test_no_view_and_no_hook_is_a_coroutine(app):
    """`Application.ensure_sync` does not look."""
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None], *app.teardown_appcontext_funcs]
    assert not [called for called in [*hooks, *app.view_functions.values()] if iscoroutinefunction(called)]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"PATH_INFO": ""},
        {"PATH_INFO": "/login", "QUERY_STRING": "next=/a&b=%20"},
        {"PATH_INFO": "/caf\u00c3\u00a9/\u00ff", "QUERY_STRING": "\u00c3\u00a9=\u00ff"},
        {"SCRIPT_NAME": "/auth", "PATH_INFO": "/oauth/jwks", "REQUEST_METHOD": "HEAD"},
        {"HTTP_HOST": "op.example:8443", "REQUEST_METHOD": "POST"},
        {"HTTP_HOST": "[::1]:8000", "wsgi.url_scheme": "http"},
    ],
    ids=lambda changed: " ".join(map(ascii, changed.values())),
)
def test_views_are_found_as_flask_finds_them(app, changed):
    """Our adapter is made from what `HostNormalizer` has left of the Host."""
    with app.test_request_context("/login", base_url=ISSUER) as context:
        request = app.request_class(context.request.environ | changed)
        assert vars(app.create_url_adapter(request)) == vars(Flask.create_url_adapter(app, request))


SAME = {
    "https://op.example": "op.example OP.example op.example:443 op.example: Op.Example:0443"
    " %6fp.example op%2Eexample:443"
    " %4FP.example",
    "https://op.example:8443": "op.example:8443 OP.EXAMPLE:8443",
    "http://127.0.0.1:8000": "127.0.0.1:8000",
    "http://localhost": "localhost LOCALHOST:80 localhost: %6Cocalhost",
    "http://[::1]:8000": "[::1]:8000 [0:0:0:0:0:0:0:1]:8000 [0::1]:8000",
}
OTHERS = {
    "https://op.example": "op.example. op.example:80 op.example:8443 op.example:443:443"
    " op.example:443x :443 ada@op.example"
    " op.example, op.example/ [op.example] op%2fexample op%252Eexample op.example%00 xop.example"
    " op.example:000443"
    " op.example:\u0664 o\uff50.example",
    "https://op.example:8443": "op.example op.example: op.example:443 op.example:84430",
    "http://127.0.0.1:8000": "127.0.0.1 127.0.0.1:80 127.1:8000 0x7f.0.0.1:8000 2130706433:8000"
    " localhost:8000"
    " [::ffff:127.0.0.1]:8000",
    "http://localhost": "localhost:443 127.0.0.1 localhost.",
    "http://[::1]:8000": "[::1] [::2]:8000 ::1:8000 [::1%25lo]:8000 [%3A:1]:8000 [::1",
}


def status_for(settings, issuer, host):
    browser = create_app(settings.model_copy(update={"issuer": issuer})).test_client()
    return browser.get("/login", base_url=issuer, environ_overrides={"HTTP_HOST": host}).status_code


@pytest.mark.threat("T160")
@pytest.mark.parametrize("issuer", SAME)
def test_every_spelling_of_its_authority_is_its_own(settings, issuer):
    """RFC 9110 §4.2.3, RFC 3986 §6.2: letter case, the default port, a port left empty, encoding that nothing
    needs.
    """
    answered = {host: status_for(settings, issuer, host) for host in SAME[issuer].split()}
    assert answered == dict.fromkeys(answered, 200)
    answered = {host: status_for(settings, issuer, host) for host in ["", *OTHERS[issuer].split()]}
    assert answered == dict.fromkeys(answered, 400)


def test_another_spelling_of_the_host_is_seen_nowhere(http):
    """Whatever is made of the Host header, is made of the issuer's own spelling."""
    answers = [http.get("/account/", headers={"Host": host}) for host in ("op.example", "OP.example:443")]
    assert answers[0].status_code == answers[1].status_code == 303
    assert answers[0].headers["Location"] == answers[1].headers["Location"]


@pytest.mark.threat("T160")
@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/login", "/login"),
        ("/oauth/authorize?client_id=web&state=SECRET", "/oauth/authorize"),
        ("/account/%E2%82%AC%20%22%3E%3Cb%3E&x='", "/account/%E2%82%AC%20%22%3E%3Cb%3E&amp;x=&#39;"),
        ("/nowhere/%0D%0Ax", "/nowhere/%0D%0Ax"),
    ],
)
def test_a_person_at_another_host_is_told_where_to_go(http, path, link):
    answer = http.get(path, headers={"Host": "other.example"})
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert f'href="{ISSUER}{link}"' in answer.text
    assert "other.example" not in answer.text
    assert "SECRET" not in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.threat("T160")
@pytest.mark.parametrize(
    "path", ["/oauth/token", "/oauth/jwks", "/.well-known/openid-configuration", "/api/me"]
)
def test_a_program_at_another_host_is_told_in_json(http, path):
    answer = http.get(path, headers={"Host": "other.example"})
    assert answer.status_code == 400
    assert answer.json == {"error": "invalid_request", "error_description": f"this server is at {ISSUER}"}


def test_a_loopback_issuer_serves_this_machine_only(settings):
    development = settings.model_copy(update={"issuer": "http://127.0.0.1:8000"})
    http = create_app(development).test_client()

    def status(**environ):
        return http.get("/login", base_url=development.issuer, environ_overrides=environ).status_code

    assert status() == status(REMOTE_ADDR="::1") == status(REMOTE_ADDR="") == 200
    assert status(REMOTE_ADDR="192.0.2.1") == 400
    assert status(HTTP_X_FORWARDED_FOR="192.0.2.1") == 400


@pytest.mark.threat("T161")
@pytest.mark.parametrize(
    "cookie",
    [
        "remember_token=1|\u00e9",
        "remember_token=1|x",
        "__Host-ostiary=\u00e9",
        "__Host-ostiary=x; __Host-ostiary=y",
        "=",
        ";;",
    ],
)
@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/oauth/authorize", "/api/me"])
def test_no_cookie_makes_a_5xx(http, path, cookie):
    assert http.get(path, headers={"Cookie": cookie}).status_code < 500


def test_error_pages_ask_nothing_of_the_database(http, seed, app, statements):
    """Not even who is signed in: one of them says that the database is away."""
    seed(a_user())
    with http.session_transaction(base_url=ISSUER) as session:
        session["_user_id"] = "somebody's session"
    statements.clear()
    assert http.get("/nowhere").status_code == 404
    assert statements == []


def test_in_memory_sqlite_is_refused_under_a_server(monkeypatch):
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    with pytest.raises(ConfigError, match="in-memory"):
        create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))


def test_the_development_server_logs_no_query(app, caplog):
    """Werkzeug logs whole request lines: they hold codes, tickets and states."""
    with caplog.at_level("INFO", "werkzeug"):
        for line in (
            "GET /demo?code=SECRET&state=SECRET HTTP/1.1",
            "\x1b[33mGET /demo?code=\xa0\u2028SECRET HTTP/1.1\x1b[0m",
            'GET /" 200 -"?SECRET HTTP/1.1',
            "GET /demo?SECRET",
        ):
            logging.getLogger("werkzeug").info('127.0.0.1 - - [21/Nov/2026] "%s" %s %s', line, "200", "-")
    said = [record.getMessage().partition("] ")[2] for record in caplog.records]
    assert said == [
        '"GET /demo HTTP/1.1" 200 -',
        '"GET /demo HTTP/1.1" 200 -',
        '"GET /%22 200 -%22 HTTP/1.1" 200 -',
        '"GET /demo" 200 -',
    ]
