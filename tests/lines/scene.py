"""One request of each kind that touches tokens, through a line that can be broken, and what is in the
database before and after.

`Scene` has the application behind a proxy, in this process, and the database itself. Each function of `WORKS`
makes the people, clients and credentials that its request needs, and returns a `Work`, which can be sent as
often as one likes.
"""

import secrets
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

from app import create_app
from config import Settings
from crypto import credentials
from models import Scope, Token, db
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    SECRET_KEY,
    a_client,
    a_code,
    a_machine,
    a_user,
    code_request,
    refresh_request,
)
from tests.conftest import Browser
from tests.lines.proxy import Proxy
from tests.live import ENGINES
from tests.pages.steps import ask, page
from tests.pages.steps import sign_in as sign_in_at
from tests.statements import select
from unit_of_work import transaction

SERVED = [engine for engine in ENGINES if engine != "sqlite"]  # those that a line leads to


class Work(NamedTuple):
    """`send()` sends it and returns the answer, usually one of this `status`; its client is `client_id`."""

    send: Callable[[], Any]
    client_id: str = ""
    status: int = 200


class Scene:
    """`app` and `http` go through `proxy`; rows are stored and read without it."""

    def __init__(self, database_url, proxy):
        self.proxy = proxy
        self.app = app_for(proxy.url)
        self.behind = app_for(database_url)
        with self.behind.app_context():
            db.create_all()
        self.store(*(Scope(name=name, description=name) for name in ("openid", "profile", "email", "read")))
        self.http = self.app.test_client()
        self.http.get("/oauth/jwks")  # makes the signing keys

    def close(self):
        for app in (self.app, self.behind):
            with app.app_context():
                db.engine.dispose()

    def store(self, *rows):
        with self.behind.app_context(), transaction():
            for row in rows:
                db.session.add(row)
                db.session.flush()
            return [getattr(row, "id", None) for row in rows]

    def client(self, build=a_client, **changed):
        client_id = f"client-{secrets.token_hex(4)}"
        self.store(build(client_id=client_id, **changed))
        return client_id

    def person(self):
        name = secrets.token_hex(4)
        return self.store(a_user(id=None, sub=name, email=f"{name}@example.com"))[0], f"{name}@example.com"

    def content(self):
        """Every row of every table."""
        with self.behind.app_context():
            return {
                table.name: sorted(map(repr, db.session.execute(select(table))))
                for table in db.metadata.sorted_tables
            }

    def tokens_of(self, client_id):
        with self.behind.app_context():
            return list(
                db.session.scalars(select(Token.access_token_digest).where(Token.client_id == client_id))
            )

    def post(self, path, client_id, body):
        return self.http.post(path, data=body, auth=(client_id, CLIENT_SECRET))

    def is_live(self, access_token):
        """As `/api/me` sees it, without the proxy."""
        answer = self.behind.test_client().get("/api/me", headers=bearer(access_token))
        assert answer.status_code in (200, 401, 403)
        return answer.status_code != 401


def app_for(database_url):
    app = create_app(Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY))
    app.test_client_class = Browser
    return app


@contextmanager
def scene_on(database_url):
    with Proxy(database_url) as proxy:
        scene = Scene(database_url, proxy)
        try:
            yield scene
        finally:
            scene.close()


def bearer(access_token):
    return {"Authorization": f"Bearer {access_token}"}


# ---- one request of each kind ------------------------------------------------------------------------------


def machine_token(scene):
    client_id = scene.client(a_machine)
    body = {"grant_type": "client_credentials"}
    return Work(lambda: scene.post("/oauth/token", client_id, body), client_id)


def code_exchange(scene):
    client_id, (user_id, _email) = scene.client(), scene.person()
    code = credentials.new_authorization_code()
    scene.store(a_code(code, client_id=client_id, user_id=user_id))
    body = code_request(code)
    return Work(lambda: scene.post("/oauth/token", client_id, body), client_id)


def sign_in_of(scene):
    """A client, and the pair that a code became."""
    client_id, (user_id, _email) = scene.client(scope="openid profile email"), scene.person()
    code = credentials.new_authorization_code()
    scene.store(a_code(code, client_id=client_id, user_id=user_id, scope="openid profile"))
    answer = scene.post("/oauth/token", client_id, code_request(code))
    assert answer.status_code == 200
    return client_id, answer.json


def refresh(scene):
    client_id, pair = sign_in_of(scene)
    body = refresh_request(pair["refresh_token"])
    return Work(lambda: scene.post("/oauth/token", client_id, body), client_id)


def revocation(scene):
    client_id, pair = sign_in_of(scene)
    body = {"token": pair["refresh_token"]}
    return Work(lambda: scene.post("/oauth/revoke", client_id, body), client_id)


def theft(scene):
    """The third use of a refresh token: it ends the family, by a penalty."""
    client_id, pair = sign_in_of(scene)
    stolen = refresh_request(pair["refresh_token"])
    successor = scene.post("/oauth/token", client_id, stolen).json
    assert (
        scene.post("/oauth/token", client_id, refresh_request(successor["refresh_token"])).status_code == 200
    )
    return Work(lambda: scene.post("/oauth/token", client_id, stolen), client_id, status=400)


def userinfo(scene):
    """The first use of its token, which is noted."""
    client_id, pair = sign_in_of(scene)
    return Work(
        lambda: scene.http.get("/oauth/userinfo", headers=bearer(pair["access_token"])),
        client_id,
    )


def introspection(scene):
    client_id, pair = sign_in_of(scene)
    body = {"token": pair["access_token"]}
    return Work(lambda: scene.post("/oauth/introspect", client_id, body), client_id)


def fill_in(http, shown, button, **fields):
    """A function that sends this form, as often as one likes."""
    form = page(shown).form(button)
    return lambda: http.open(form.url, method=form.method.upper(), data=form.filled(button, **fields))


def sign_in(scene):
    browser = scene.app.test_client()
    _user_id, email = scene.person()
    fields = {"email": email, "password": "correct horse battery"}
    return Work(fill_in(browser, browser.get("/login"), "Sign in", **fields), status=303)


def consent(scene):
    browser = scene.app.test_client()
    client_id, (_user_id, email) = scene.client(), scene.person()
    sign_in_at(browser, email)
    return Work(fill_in(browser, ask(browser, client_id=client_id), "Allow"), client_id, status=303)


WORKS = [
    machine_token,
    code_exchange,
    refresh,
    revocation,
    theft,
    userinfo,
    introspection,
    sign_in,
    consent,
]
