"""What a process keeps in memory is of one tenant, or there is a reason why it is not.

The fence sees SQL only. So each container that can grow is listed here, whether it hangs on the app or stands
in a module, with the reason why nothing of one tenant comes out of it at another.
"""

import ast
from collections import deque
from collections.abc import MutableMapping, MutableSequence, MutableSet

import pytest
from flask import Flask

from app import create_app
from config import Settings
from services.current import state_of
from tests.builders import ISSUER, SECRET_KEY
from tests.test_house_rules import PROJECT, SOURCES

CONTAINERS = (MutableMapping, MutableSequence, MutableSet, deque)
OF_TENANT = "hangs on one tenant's state"
OF_ROW = "by the tenant's number, its name or its host, as its row has them"
BY_TENANT = "its keys have the tenant in them"
AT_THE_START = "filled at the start, with what the code has"

KEPT_BY_THE_APP = {
    "tenants.home.branding": OF_TENANT,
    "tenants.home.keyring._parsed": OF_TENANT,
    "tenants.home.keyring._noted_at": OF_TENANT,
    "tenants.home.keyring.cipher._ciphers": OF_TENANT,
    "tenants.home.keyring.client_secrets._ciphers": OF_TENANT,
    "tenants.home.refresh_tokens._keys": OF_TENANT,
    "tenants.home.device_keys": OF_TENANT,
    "tenants.home.session_keys": OF_TENANT,
    "tenants._states": OF_ROW,
    "tenants._snapshot.by_id": OF_ROW,
    "tenants._snapshot.by_name": OF_ROW,
    "tenants._snapshot.by_host": OF_ROW,
    "documents._entries": "public documents by their URL: each tenant would fetch the same",
    "documents._in_flight": "the same, while they are fetched",
    "client_cache._kept": BY_TENANT,
    "secret_uses._noted_at": BY_TENANT,
    "secret_uses._waiting": BY_TENANT,
    "delivery._in_flight": BY_TENANT,
    "delivery._failed_at": BY_TENANT,
    "delivery._periodic_tasks": AT_THE_START,
    "forms_in_flight._done": BY_TENANT,
    "forms_in_flight._waited_for": BY_TENANT,
    "server.grant_types": AT_THE_START,
    "server.client_auth_methods": AT_THE_START,
    "server._hooks": AT_THE_START,
    "server._token_generators": AT_THE_START,
    "server._authorization_grants": AT_THE_START,
    "server._token_grants": AT_THE_START,
    "server._endpoints": AT_THE_START,
    "server._extensions": AT_THE_START,
}
OF_ITS_REQUEST = "a property of an object that one request has"
KEPT_BY_MODULES = {
    "app.py: APPS": "the apps of this process",
    "authorization/interaction.py: consented_scopes()": OF_ITS_REQUEST,
    "authorization/interaction.py: hinted_sub()": OF_ITS_REQUEST,
    "services/oauth2_types.py: sign_in()": OF_ITS_REQUEST,
    "services/signing_keys.py: cipher()": OF_TENANT,
    "services/signing_keys.py: client_secrets()": OF_TENANT,
    "crypto/key_schedule.py: publication_lead()": OF_TENANT,
    "crypto/key_schedule.py: retirement()": OF_TENANT,
    "middleware/endpoint_policy.py: is_for_programs()": AT_THE_START,
    "middleware/endpoint_policy.py: member()": AT_THE_START,
    "protocol/client_address.py: read_address()": "addresses, by their texts",
    "protocol/issuer.py: is_loopback()": "by the issuer",
    "client_auth/client_keys.py: parsed()": "by the text of a JWK Set: whoever has that has these keys",
    "database/bounded_connection.py: _columns()": "a property of an object that one result has",
    "database/dialect.py: skip_locked_delete()": "statements",
    "outbound/http_client.py: _tls()": "the machine's certificates",
    "pages/assets.py: digest_of()": "files of this project",
    "protocol/user_claims.py: known_zones()": "the time zones that there are",
    "store/migration_state.py: revisions()": "the migrations of this project",
    "testing/races/plugin.py: rounds()": "a fixture of tests",
    "testing/races/plugin.py: prepared()": "a fixture of tests",
}


def containers_of(thing, path, seen=None):
    """The containers in an object of ours and in the objects that it has, as paths."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, CONTAINERS):
        yield path.removeprefix("state.")
    elif isinstance(thing, Flask):
        return
    elif type(thing).__module__.split(".")[0] in OURS:
        fields = vars(thing) if hasattr(thing, "__dict__") else {}
        fields = fields or (thing._asdict() if hasattr(thing, "_asdict") else {})
        for name, value in fields.items():
            yield from containers_of(value, f"{path}.{name}", seen)


OURS = {path.relative_to(PROJECT).parts[0].removesuffix(".py") for path in SOURCES}


def module_containers():
    """Containers in modules that some function of the module changes, and caches of functions."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        at_the_top = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for name in sorted(at_the_top & changed_in(tree)):
            yield f"{path.relative_to(PROJECT)}: {name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                if any("cache" in ast.unparse(decorator) for decorator in node.decorator_list):
                    yield f"{path.relative_to(PROJECT)}: {node.name}()"


CHANGES = frozenset("add append appendleft clear extend insert pop popitem remove setdefault update".split())


def changed_in(tree):
    """The names of what functions of a module change: by a method, by an item, or as a global."""
    found = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                found |= set(node.names)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in CHANGES
            ):
                found.add(ast.unparse(node.func.value))
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                found.add(ast.unparse(node.value))
    return found


@pytest.mark.threat("T197")
def test_what_an_app_keeps_is_of_one_tenant_or_has_a_reason():
    settings = Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, tenants="on")
    state = state_of(create_app(settings))
    assert state.home.keyring.cipher and state.home.keyring.client_secrets  # made when they are used
    found = list(containers_of(state, "state"))
    assert sorted(found) == sorted(KEPT_BY_THE_APP)


@pytest.mark.threat("T197")
def test_what_a_module_keeps_has_a_reason():
    assert sorted(module_containers()) == sorted(KEPT_BY_MODULES)


def test_a_container_in_a_module_is_found():
    changes = "KNOWN = {}\ndef note(name):\n    KNOWN[name] = 1\n"
    assert changed_in(ast.parse(changes)) == {"KNOWN"}
    assert changed_in(ast.parse("KNOWN = []\ndef note(name):\n    KNOWN.append(name)\n")) == {"KNOWN"}
    assert changed_in(ast.parse("KNOWN = []\ndef read():\n    return KNOWN[0]\n")) == set()
