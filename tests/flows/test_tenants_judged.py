"""Tenants, judged by clients of others: openid-client and oauth4webapi do at a tenant below a path, and at a
host of its own, all that they do at a server with one issuer.
"""

import pytest

from tests.flows.judges import judged
from tests.flows.tenants import two_tenants
from tests.flows.test_oauth4webapi_openid import SCRIPTS, clients  # noqa: F401 - a fixture
from tests.live import new_database

pytestmark = pytest.mark.long  # `tests/tenants` has the short form


@pytest.fixture(scope="module", params=["acme", "beta"])
def judged_server(request, tmp_path_factory, node, servers):
    folder = tmp_path_factory.mktemp("judged")
    with two_tenants(new_database("sqlite", folder, servers), folder) as (server, tenants):
        yield tenants[request.param]
        assert "Traceback" not in server.log()
        assert "bug:" not in server.log()


test_step, test_every_step_is_compared = judged(SCRIPTS)
