"""Clients as any front end registers and changes them: columns in, a registration or codes out.

`tests/commands/` has every rule, with its words for operators.
"""

import pytest

from errors import ConflictError, InvalidInputError, NotFoundError
from models import Client
from services import clients
from services.problems import Code
from tests.builders import REDIRECT_URI
from tests.statements import select
from unit_of_work import transaction

WEB = {"client_name": " Web  app ", "redirect_uris": [REDIRECT_URI]}


@pytest.fixture
def act(app):
    def act(service, *arguments):
        with app.app_context(), transaction():
            return service(*arguments)

    return act


def codes(act, service, *arguments, error=InvalidInputError):
    with pytest.raises(error) as refused:
        act(service, *arguments)
    return [problem.code for problem in refused.value.problems]


def test_a_registration_has_its_secret_once_and_everything_else_by_default(app):
    with app.app_context(), transaction():
        registration = clients.register(WEB)
        response = clients.information_response(registration.client, registration.client_secret)
        again = clients.information_response(registration.client)
    assert (response["client_name"], response["grant_types"], response["response_types"]) == (
        "Web app",
        ["authorization_code", "refresh_token"],
        ["code"],
    )
    assert response["client_secret"] == registration.client_secret
    assert "client_secret" not in again


def test_all_problems_come_at_once_and_nothing_is_stored(act, rows):
    wrong = WEB | {"token_endpoint_auth_method": "x", "scope": "unknown", "extra_metadata": {"logo_uri": 1}}
    assert codes(act, clients.register, wrong) == [
        Code.UNKNOWN_AUTH_METHOD,
        Code.UNKNOWN_SCOPE,
        Code.INVALID_CLIENT_METADATA,
    ]
    assert rows(select(Client)) == []


def test_a_change_leaves_what_it_does_not_name_and_null_takes_a_member_away(app, act):
    made = act(
        clients.register, WEB | {"extra_metadata": {"software_id": "a", "software_version": "1"}}, "web"
    )
    assert made.client_secret is not None
    with app.app_context(), transaction():
        changed = clients.change("web", {"max_sessions": 2, "extra_metadata": {"software_id": None}})
        assert (changed.client.max_sessions, changed.client.redirect_uris) == (2, [REDIRECT_URI])
        assert changed.client.extra_metadata == {"software_version": "1"}
        assert changed.client_secret is None


def test_what_is_risky_is_a_warning(act):
    warnings = act(clients.register, {"client_name": "Web", "extra_metadata": {"logo_url": "x"}}).warnings
    assert [warning.code for warning in warnings] == [Code.WITHOUT_USE, Code.MISSPELT_MEMBER]


def test_what_is_not_there_and_what_does_not_fit(act):
    act(clients.register, WEB | {"token_endpoint_auth_method": "none"}, "public")
    act(clients.register, WEB, "web")
    act(clients.rotate_secret, "web", 60)
    for service in (clients.find, clients.remove, clients.rotate_secret):
        assert codes(act, service, "nobody", error=NotFoundError) == [Code.UNKNOWN_CLIENT]
    assert codes(act, clients.rotate_secret, "public", error=ConflictError) == [Code.PUBLIC_HAS_NO_SECRET]
    assert codes(act, clients.rotate_secret, "web", 60, error=ConflictError) == [Code.TWO_SECRETS_ALREADY]
    act(clients.delete_older_secret, "web")
    assert codes(act, clients.delete_older_secret, "web", error=ConflictError) == [Code.NO_OLDER_SECRET]
