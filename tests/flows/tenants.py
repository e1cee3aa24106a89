"""A live server with two tenants, as their own users and operators see them: `acme` below a path of home's
origin, `beta` at a host of its own, which is this machine as well.
"""

import json
from contextlib import contextmanager

from tests.live import live_server


class TenantOfServer:
    """One tenant, with what tests ask of a server: its `issuer`, and `flask` for commands about it."""

    def __init__(self, server, name, issuer):
        self.server = server
        self.name = name
        self.issuer = issuer
        self.log = server.log

    def flask(self, *arguments, **rest):
        return self.server.flask(*arguments, "--tenant", self.name, **rest)

    def flask_json(self, *arguments, **rest):
        return json.loads(self.flask(*arguments, "--json", **rest).stdout)


@contextmanager
def two_tenants(database_url, folder, **settings):
    """The server, and its tenants by name."""
    with live_server(database_url, folder, tenants="on", **settings) as server:
        beta = f"http://localhost:{server.port}"
        server.flask("tenants", "add", "acme")
        server.flask("tenants", "add", "beta", "--issuer", beta)
        acme = TenantOfServer(server, "acme", f"{server.issuer}/t/acme")
        yield server, {"acme": acme, "beta": TenantOfServer(server, "beta", beta)}
