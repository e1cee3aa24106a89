"""Home has a path itself: its tenants are below `/t/` of the same origin all the same."""

import pytest

from app import create_app
from errors import ConfigError
from tests.pages.steps import page
from tests.tenants.conftest import in_memory, settings_for
from tests.tenants.issuers import At, Issuer, add_tenant

WHOSE = "/.well-known/openid-configuration"


@pytest.fixture
def below(apps, first_rows, stopped_clock):
    """Home at /idp of its origin; acme is below /t/ all the same."""
    with in_memory(apps, first_rows, issuer="https://op.example/idp") as app:
        number = add_tenant(app, "acme")
        home = Issuer(app, "home", 1, "https://op.example", "/idp")
        acme = Issuer(app, "acme", number, "https://op.example", "/t/acme")
        yield At(app.test_client(), home), At(app.test_client(), acme)


def test_home_has_a_path(below):
    home, acme = below
    for browser, path in ((home, "/idp"), (acme, "/t/acme")):
        for address in (f"{path}{WHOSE}", f"{WHOSE}{path}"):
            assert browser.exactly(address).json["issuer"] == f"https://op.example{path}"
        assert page(browser.exactly(f"{path}/login")).links["Create an account"] == f"{path}/signup?next="
    for address in (
        "/",
        "/login",
        "/idp/t/acme/login",
        "/t/idp/login",
        "/t/acme/idp/login",
        f"{WHOSE}/idp/t/acme",
    ):
        answer = home.exactly(address)
        assert answer.status_code == 404, address


def test_links_of_a_page_that_nobody_has_lead_home(below):
    """To where home is, not to the root of its host, which is another's."""
    shown = page(below[0].exactly("/t/nobody/login"))
    found = [a[name] for _tag, a in shown.elements for name in ("href", "src") if name in a]
    assert found and all(target.startswith("/idp/") for target in found), found


@pytest.mark.parametrize("path", ["/t", "/t/", "/t/acme", "/t/acme/x"])
def test_home_is_not_where_tenants_are(path):
    issuer = "https://op.example" + path.rstrip("/")
    with pytest.raises(ConfigError, match="below /t/"):
        create_app(settings_for(issuer=issuer))
    create_app(settings_for(issuer=issuer, tenants="off"))


@pytest.mark.parametrize("path", ["/tt", "/t-1", "/x/t/acme"])
def test_home_may_be_next_to_them(path):
    create_app(settings_for(issuer="https://op.example" + path))


def test_health_of_a_home_with_a_path(below, away_from):
    """Asked under any Host and at both addresses, also while nobody can tell who has that Host."""
    home, acme = below
    away_from(home.issuer.app)(True)
    for path in ("/healthz", "/idp/healthz"):
        answer = home.exactly(path, environ_overrides={"HTTP_HOST": "10.0.0.1"})
        assert answer.status_code == 200, path
    assert acme.exactly("/t/acme/login").status_code == 503
