"""`flask demo`: what is made on an empty database of a loopback issuer, once; and that it is not made
anywhere else.
"""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func

from app import create_app
from config import Settings
from models import Client, ClientOrigin, User, db
from services import passwords
from services.client_rules import find_problems
from store import demo
from tests.builders import ISSUER, SECRET_KEY, a_client, a_user
from tests.live import LiveServer
from tests.statements import select

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

LOCAL = "http://127.0.0.1:8000"
COUNTS = select(
    select(func.count()).select_from(User).scalar_subquery(),
    select(func.count()).select_from(Client).scalar_subquery(),
)
PASSWORD_LINE = re.compile(r"^\|  Password +([a-z2-9-]+) +\|$", re.MULTILINE)


@pytest.fixture
def settings_of(migrated_file, tmp_path):
    """A function: the settings of an issuer, all on one database."""
    path = tmp_path / "ostiary.sqlite3"
    shutil.copy(migrated_file, path)
    return lambda issuer: Settings(issuer=issuer, database_url=f"sqlite:///{path}", secret_key=SECRET_KEY)


@pytest.fixture
def settings(settings_of):
    return settings_of(LOCAL)


@pytest.fixture
def flask_of(settings_of):
    """A function: run `flask …` of an issuer."""
    apps = []

    def flask_of(issuer, *arguments):
        apps.append(create_app(settings_of(issuer)))
        return apps[-1].test_cli_runner().invoke(args=arguments, catch_exceptions=False)

    yield flask_of
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def test_a_person_and_a_client_are_made(app, flask, rows):
    done = flask("demo")
    assert done.exit_code == 0
    assert done.stderr.startswith(f"Issuer {LOCAL}, database sqlite:///")
    [(email, password_hash, is_admin)] = rows(select(User.email, User.password_hash, User.is_admin))
    assert (email, is_admin) == ("demo@example.com", False)
    [password] = PASSWORD_LINE.findall(done.stdout)
    assert passwords.is_right(password, password_hash)
    assert passwords.find_problem(password) is None
    with app.app_context():
        [client] = db.session.scalars(select(Client))
        assert client.is_public
        assert client.require_pkce
        assert client.redirect_uris == [f"{LOCAL}/demo"]
        assert list(find_problems(client)) == []
    assert rows(select(ClientOrigin.origin)) == [(LOCAL,)]


def test_the_box_says_all_that_is_needed(flask):
    shown = flask("demo").stdout
    assert f"{LOCAL}/demo" in shown
    assert "demo@example.com" in shown
    assert "shown this once" in shown
    assert "users set-password demo@example.com --password-stdin" in shown
    assert shown.isascii()
    assert len({len(line) for line in shown.splitlines() if line.startswith(("|", "+"))}) == 1


def test_the_password_is_shown_once_and_never_logged(flask, rows, caplog):
    caplog.set_level("DEBUG")
    first = flask("demo")
    [password] = PASSWORD_LINE.findall(first.stdout)
    before = rows(select(User.password_hash))
    second = flask("demo")
    assert (second.exit_code, second.stdout) == (0, "")
    assert f"{LOCAL}/demo, as demo@example.com" in second.stderr
    assert rows(COUNTS) == [(1, 1)]
    assert rows(select(User.password_hash)) == before
    assert password not in caplog.text + first.stderr + second.stderr


def test_a_new_password_can_be_had(app, flask, rows):
    flask("demo")
    assert (
        flask("users", "set-password", demo.EMAIL, "--password-stdin", input="another long one").exit_code
        == 0
    )
    [(password_hash,)] = rows(select(User.password_hash))
    assert passwords.is_right("another long one", password_hash)


def test_each_password_is_another(flask, flask_json):
    made = set()
    for _ in range(3):
        made.add(flask_json("demo")["password"])
        flask("users", "remove", demo.EMAIL)
        flask("clients", "remove", demo.CLIENT_ID)
    assert len(made) == 3


def test_the_password_is_in_the_json_of_the_first_run_alone(flask_json):
    made = flask_json("demo")
    assert made == {"url": f"{LOCAL}/demo", "email": demo.EMAIL, "password": made["password"]}
    assert flask_json("demo") == {"url": f"{LOCAL}/demo"}


@pytest.mark.parametrize("row", [a_user(), a_client()], ids=["person", "client"])
def test_not_where_somebody_is_there(flask, seed, rows, row):
    seed(row)
    before = rows(COUNTS)
    done = flask("demo")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("No demo: there are people or clients already.\n")
    assert rows(COUNTS) == before


def test_no_demo_is_made_in_production(flask_of, rows):
    done = flask_of(ISSUER, "demo")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("No demo: the issuer is not on a loopback address.\n")
    assert rows(COUNTS) == [(0, 0)]


def test_what_was_removed_stays_away_while_the_other_is_there(flask, rows):
    flask("demo")
    flask("users", "remove", demo.EMAIL)
    assert flask("demo").stderr.startswith(f"The demo: {LOCAL}/demo\n")
    assert rows(COUNTS) == [(0, 1)]


@pytest.mark.parametrize(
    ("first", "then", "registered"),
    [
        # RFC 8252 §7.3: any port of a loopback literal is registered with one of them
        ("http://127.0.0.1:8000", "http://127.0.0.1:8123", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8123", "http://[::1]:8000"),
        ("http://localhost:8000", "http://localhost:8123", "http://localhost:8123"),
        ("http://127.0.0.1:8000", "http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "https://localhost:8443", "https://localhost:8443"),
    ],
)
def test_the_client_follows_the_issuer(flask_of, rows, settings_of, first, then, registered):
    flask_of(first, "demo")
    assert f"The demo: {then}/demo" in flask_of(then, "demo").stderr
    assert rows(select(Client.redirect_uris)) == [([f"{registered}/demo"],)]
    assert rows(select(ClientOrigin.origin)) == [(registered,)]
    with create_app(settings_of(then)).app_context():
        assert demo.find_client(then) is not None
        db.engine.dispose()


@pytest.mark.integration
def test_a_database_that_is_not_migrated(tmp_path):
    app = create_app(
        Settings(issuer=LOCAL, database_url=f"sqlite:///{tmp_path / 'new.sqlite3'}", secret_key=SECRET_KEY)
    )
    flask = app.test_cli_runner()
    refused = flask.invoke(args=["demo"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "the database is not migrated" in refused.stderr
    assert PASSWORD_LINE.search(flask.invoke(args=["demo", "--migrate"]).stdout)
    with app.app_context():
        db.engine.dispose()


def test_several_at_once_make_one(database_url, tmp_path):
    server = LiveServer(database_url, tmp_path)
    server.flask("db", "upgrade")
    with ThreadPoolExecutor(3) as pool:
        made = [
            json.loads(done.stdout)
            for done in pool.map(lambda _: server.flask_process("demo", "--json"), range(3))
        ]
    assert [len(answer) for answer in sorted(made, key=len)] == [1, 1, 3]
    assert (
        server.rows("SELECT count(*) FROM end_user") == server.rows("SELECT count(*) FROM client") == [(1,)]
    )


class TestTenants:
    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"tenants": "on"})

    def test_the_demo_is_home_s(self, app, flask, rows):
        flask("tenants", "add", "acme")
        assert flask("demo").exit_code == 0
        assert rows(select(Client.tenant_id)) == rows(select(User.tenant_id)) == [(1,)]
        http = app.test_client()
        assert http.get("/demo", base_url=LOCAL).status_code == 200
        assert http.get("/t/acme/demo", base_url=LOCAL).status_code == 404
