"""Three issuers of one app in one database, as alike as they can be: client ids, secrets, e-mail addresses,
passwords, scopes, and even the `sub` of their person are the same.

Home is at its origin, "acme" below its path `/t/`, "beta" at a host of its own.
"""

from dataclasses import dataclass
from itertools import permutations

from flask import Flask

from database.tenancy import own
from models import Client, Scope, db
from services import tenants
from services.current import state_of
from services.tenant_state import entered
from tests.builders import ISSUER, a_client, a_machine, a_user, basic, code_request
from tests.jose import jwks, key_for
from tests.openid import an_openid_client, answer_of
from tests.pages.steps import authorization_path as path_of_request
from tests.pages.steps import follow, page, press
from tests.pages.steps import sign_in as sign_in_with
from tests.statements import select
from unit_of_work import run_in_app

BETA = "https://beta.example"
SCOPE = "openid profile email"
BACK = "https://app.example/signed-out"
KEY = key_for("ES256")
SCOPES = {"openid": "Know who you are", "profile": "Name", "email": "Email", "read": "Notes"}


@dataclass
class At:
    """A browser at one issuer: helpers write paths without the issuer's, and it asks below it."""

    client: object
    issuer: "Issuer"

    def open(self, path, **arguments):
        own = self.issuer.path
        below = path if own and (path + "/").startswith(own + "/") else own + path
        return self.exactly(below, **arguments)

    def exactly(self, path, **arguments):
        return self.client.open(path, **{"base_url": self.issuer.origin} | arguments)

    def get(self, path, **arguments):
        return self.open(path, method="GET", **arguments)

    def post(self, path, **arguments):
        return self.open(path, method="POST", **arguments)

    def at(self, other):
        """The same browser, with the same cookies, at another issuer."""
        return At(self.client, other)

    def cookies(self):
        """Those that it sends here, by name."""
        found = self.client._cookies.values()
        return {cookie.key: cookie.value for cookie in found if cookie.domain == self.issuer.host}

    def plant(self, name, value):
        self.client.set_cookie(name, value, domain=self.issuer.host, secure=True)

    def sign_in(self, **account):
        sign_in_with(self, **account)
        return self

    def authorize(self, **parameters):
        """The members of the authorization response, after Allow where that is asked."""
        shown = follow(self, self.get(path_of_request(**{"scope": SCOPE} | parameters)))
        if any("Allow" in form.buttons for form in page(shown).forms):
            shown = press(self, shown, "Allow")
        return answer_of(shown)

    def is_signed_in(self):
        answer = self.get("/account/")
        if answer.status_code == 200:
            assert "Ada" in page(answer).text
        else:
            assert answer.headers["Location"].startswith(f"{self.issuer.path}/login")
        return answer.status_code == 200


@dataclass
class Issuer:
    """One of the three. id: the tenant's number. cookie: the name of its session cookie."""

    app: Flask
    name: str
    id: int
    origin: str
    path: str

    @property
    def address(self):
        return self.origin + self.path

    @property
    def host(self):
        return self.origin.removeprefix("https://")

    @property
    def cookie(self):
        return "__Host-ostiary" if self.id == 1 else f"__Host-ostiary~{self.id}"

    def __hash__(self):
        return self.id

    def browser(self):
        return At(self.app.test_client(), self)

    def open(self, path, **arguments):
        """What a program asks, which has no cookies."""
        return self.browser().open(path, **arguments)

    def get(self, path, **arguments):
        return self.open(path, method="GET", **arguments)

    def post(self, path, **arguments):
        return self.open(path, method="POST", **arguments)

    def tokens(self, **parameters):
        """Those of Ada at "web", after a sign-in of her own."""
        client_id = parameters.get("client_id", "web")
        code = self.browser().sign_in().authorize(**parameters)["code"]
        answer = self.post("/oauth/token", data=code_request(code), auth=basic(client_id))
        assert answer.status_code == 200, answer.json
        return answer.json

    def with_token(self, token, path="/oauth/userinfo"):
        return self.get(path, headers={"Authorization": f"Bearer {token}"})

    def introspect(self, token):
        return self.post("/oauth/introspect", data={"token": token}, auth=basic("api")).json

    def run(self, work):
        """Work as this tenant, in one transaction."""
        with state_of(self.app).tenants.entered(self.id):
            return run_in_app(self.app, work)

    def rows(self, statement):
        """The rows of a test's own statement."""
        with self.app.app_context():
            return [tuple(row) for row in db.session.execute(statement)]

    def change_client(self, client_id, **members):
        """Change members without a column."""

        def change():
            client = db.session.get(Client, (self.id, client_id))
            client.extra_metadata = {**client.extra_metadata, **members}

        self.run(change)


def add_tenant(app, name, issuer=None):
    """Add a tenant, and return its number."""
    with entered(state_of(app).home):
        return run_in_app(app, lambda: tenants.add(name, issuer)).id


def fill(issuer):
    """Add the person and the clients that all issuers have alike."""

    def add():
        known = {scope.name for scope in db.session.scalars(select(Scope).where(own(Scope)))}
        db.session.add_all(Scope(name=name, description=SCOPES[name]) for name in SCOPES.keys() - known)
        db.session.flush()
        db.session.add(a_user(id=None))
        for client in clients():
            db.session.add(client)
        db.session.flush()

    issuer.run(add)


def clients():
    members = {"post_logout_redirect_uris": [BACK], "jwks": jwks(KEY)}
    yield an_openid_client(client_name="Notebook", extra_metadata=members)
    yield an_openid_client(client_id="jwt", extra_metadata={"access_token_format": "jwt"})
    yield a_client(client_id="api", grant_types=[], redirect_uris=[], is_resource_server=True)
    yield a_machine()
    yield a_machine(
        client_id="signer",
        client_secret_digest=None,
        token_endpoint_auth_method="private_key_jwt",
        extra_metadata={"jwks": jwks(KEY)},
    )


def three_issuers(app):
    """Home, acme and beta, filled alike."""
    found = [
        Issuer(app, "home", 1, ISSUER, ""),
        Issuer(app, "acme", add_tenant(app, "acme"), ISSUER, "/t/acme"),
        Issuer(app, "beta", add_tenant(app, "beta", BETA), BETA, ""),
    ]
    for issuer in found:
        fill(issuer)
    return found


def pairs(issuers):
    """Each issuer with each other one."""
    return permutations(issuers, 2)
