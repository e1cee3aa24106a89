"""A live server with tenants: acme below a path, beta at a host of its own, which is this machine too."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

from app import create_app
from models import User, db
from services.current import state_of
from tests.builders import a_code
from tests.flows.driving import OURS, race_server
from tests.statements import select
from tests.tenants.issuers import Issuer, add_tenant, fill

CLIENT = "web"


@dataclass
class Scene:
    """The server, and an app of this process on its database."""

    server: object
    app: object

    def __post_init__(self):
        self.home = Issuer(self.app, "home", 1, self.server.issuer, "")
        self.beta_origin = f"http://localhost:{self.server.port}"

    def add(self, name):
        """A tenant, filled as all are; "beta" has a host of its own."""
        has_host = name == "beta"
        number = add_tenant(self.app, name, self.beta_origin if has_host else None)
        origin, path = (self.beta_origin, "") if has_host else (self.server.issuer, f"/t/{name}")
        state_of(self.app).tenants.forget()
        issuer = Issuer(self.app, name, number, origin, path)
        fill(issuer)
        return issuer

    def rows(self, statement):
        with self.app.app_context():
            return [tuple(row) for row in db.session.execute(statement)]


@contextmanager
def scene_on(database_url, folder):
    with race_server(database_url, folder, tenants="on", signup="open") as server:
        app = create_app(server.settings())
        yield Scene(server, app)
        with app.app_context():
            db.engine.dispose()


def at(issuer, call):
    """The call, at this issuer."""
    host = issuer.origin.partition("://")[2]
    return replace(call, path=issuer.path + call.path, headers=call.headers | {"Host": host})


def codes(issuer, texts):
    """Authorization codes of Ada at "web", as texts or so many."""

    def store():
        user_id = db.session.scalar(select(User.id).where(User.tenant_id == issuer.id))
        db.session.add_all(a_code(text, user_id=user_id) for text in texts)

    issuer.run(store)
    return [at(issuer, OURS.exchange(CLIENT, text)) for text in texts]
