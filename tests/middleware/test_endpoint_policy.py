"""What an endpoint declares: the app does not start without it or against itself, and it is what happens."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from flask import Blueprint, request

import app as application
from app import ENDPOINTS, PAGES, create_app
from endpoints import authorize, health, token
from middleware.endpoint_policy import PAGE, Caller, Cors, Csrf, DeclarationError, Endpoint, Metadata
from middleware.policy_table import read_policies
from models import db
from tests.builders import ISSUER

POLICIES = {path: policy for policy in read_policies(ENDPOINTS, PAGES).policies for path in policy.paths}
PROGRAM = replace(token.policy, paths=("/oauth/new",), metadata="new_endpoint")
USER = replace(authorize.policy, paths=("/oauth/new",), metadata="new_endpoint")


def a_file(policy, *served, name="endpoints.new"):
    """An endpoint file with this policy, and a view at these of its paths or at all."""
    blueprint = Endpoint(name, policy)
    blueprint.view(*served)(lambda: request.form.get("x", ""))
    return SimpleNamespace(__name__=name, blueprint=blueprint)


@pytest.fixture
def start(monkeypatch, settings):
    """Start an app that has these endpoint files too."""

    def start(*files, pages=()):
        monkeypatch.setattr(application, "ENDPOINTS", [*ENDPOINTS, *files])
        monkeypatch.setattr(application, "PAGES", [*PAGES, *pages])
        started = create_app(settings)
        with started.app_context():
            db.create_all()
        return started.test_client()

    return start


# ---- what does not start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("blueprint", [None, Blueprint("new", "endpoints.new")], ids=["none", "Flask's own"])
def test_an_endpoint_that_declares_nothing_does_not_start(start, blueprint):
    file = SimpleNamespace(__name__="endpoints.new", blueprint=blueprint)
    with pytest.raises(DeclarationError, match=r"^endpoints\.new declares no policy$"):
        start(file)


@pytest.mark.parametrize("left_out", PROGRAM.__dataclass_fields__)
def test_a_declaration_is_whole(left_out):
    facts = {name: getattr(PROGRAM, name) for name in PROGRAM.__dataclass_fields__ if name != left_out}
    with pytest.raises(TypeError, match=left_out):
        type(PROGRAM)(**facts)


CONTRADICTIONS = {
    "no path": replace(PROGRAM, paths=(), metadata=Metadata.NONE),
    "a path that is relative": replace(PROGRAM, paths=("oauth/new",)),
    "a path with an empty segment": replace(PROGRAM, paths=("/oauth//new",)),
    "no method": replace(PROGRAM, methods=()),
    "a method of no HTTP": replace(PROGRAM, methods=("ASK",)),
    "a method that no form has": replace(USER, methods=("GET", "POST", "DELETE")),
    "a browser's POST that nothing protects": replace(USER, csrf=Csrf.NO_FORM),
    "a program's form of ours": replace(PROGRAM, csrf="ticket"),
    "a form without POST": replace(USER, methods=("GET",)),
    "a page that others read": replace(USER, cors=Cors.ANY_ORIGIN),
    "a page that clients' pages read": replace(USER, cors=Cors.PUBLIC_CLIENTS),
    "any origin may change": replace(PROGRAM, cors=Cors.ANY_ORIGIN),
    "any Host sees a page": replace(USER, any_host=True, metadata=Metadata.NONE),
    "any Host and CORS": replace(PROGRAM, any_host=True, metadata=Metadata.NONE),
    "any Host and metadata": replace(PROGRAM, any_host=True, cors=Cors.NONE),
    "one member for two paths": replace(PROGRAM, paths=("/oauth/new", "/oauth/newer")),
    "a body longer than is read": replace(PROGRAM, body_limit=10_000_000),
    "a body of less than nothing": replace(PROGRAM, body_limit=-1),
    "a POST without a body": replace(PROGRAM, body_limit=0),
    "another endpoint's path": replace(PROGRAM, paths=("/oauth/token",)),
    "another endpoint's member": replace(PROGRAM, metadata="token_endpoint"),
}


@pytest.mark.parametrize("policy", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_does_not_start(start, policy):
    with pytest.raises(DeclarationError):
        start(a_file(policy))


def test_a_path_without_a_view_does_not_start(start):
    policy = replace(PROGRAM, paths=("/oauth/new", "/oauth/newer"), metadata=Metadata.NONE)
    with pytest.raises(DeclarationError, match="/oauth/newer has no view"):
        start(a_file(policy, "/oauth/new"))


def test_a_route_that_is_not_declared_is_refused_at_once():
    blueprint = Endpoint("endpoints.new", PROGRAM)
    for path, methods in (("/oauth/other", ["POST"]), ("/oauth/new", ["GET"])):
        with pytest.raises(DeclarationError, match=path):
            blueprint.route(path, methods=methods)(lambda: "")


@pytest.mark.parametrize("path", ["/api/new", "/.well-known/new", "/oauth/tokens"])
def test_a_page_is_not_where_programs_ask(start, path):
    blueprint = Blueprint("new", "pages.new")
    blueprint.add_url_rule(path, view_func=lambda: "")
    with pytest.raises(DeclarationError, match=f"{path} is a page where programs ask"):
        start(pages=[SimpleNamespace(__name__="pages.new", blueprint=blueprint)])


def test_everything_that_is_wrong_is_told_at_once(start):
    nothing = SimpleNamespace(__name__="endpoints.newer")
    with pytest.raises(DeclarationError) as raised:
        start(nothing, a_file(replace(PROGRAM, csrf="x", body_limit=0)))
    assert len(str(raised.value).splitlines()) == 3


# ---- what is declared is what happens ----------------------------------------------------------------------


@pytest.mark.parametrize("path", POLICIES)
def test_the_declaration_is_what_happens(http, path):
    policy = POLICIES[path]
    refused = http.put(path, headers={"Origin": "https://x.example"})
    assert refused.status_code == 405
    assert set(policy.methods) <= set(refused.headers["Allow"].split(", "))
    assert refused.is_json is (policy.caller is Caller.PROGRAM)
    assert (refused.headers.get("Access-Control-Allow-Origin") == "*") is (policy.cors is Cors.ANY_ORIGIN)
    assert ("Origin" in refused.headers.get("Vary", "")) is (policy.cors is Cors.PUBLIC_CLIENTS)
    elsewhere = http.get(path, headers={"Host": "evil.example"})
    assert ("this server is at" in elsewhere.text.lower()) is not policy.any_host
    metadata = http.get("/.well-known/openid-configuration").json
    assert [name for name, value in metadata.items() if value == ISSUER + path] == [policy.member] * bool(
        policy.member
    )


def test_a_new_endpoint_has_what_it_declares(start):
    """One file and one line in the list: no other place names its path."""
    policy = replace(
        PROGRAM, paths=("/oauth/<realm>/new",), cors=Cors.NONE, metadata=Metadata.NONE, body_limit=9
    )
    blueprint = Endpoint("endpoints.new", policy)
    blueprint.view()(lambda realm: realm + request.form["x"])
    http = start(SimpleNamespace(__name__="endpoints.new", blueprint=blueprint))
    assert http.post("/oauth/a/new", data={"x": "y"}, base_url=ISSUER).text == "ay"
    large = http.post("/oauth/a/new", data={"x": "12345678"}, base_url=ISSUER)
    assert (large.status_code, large.json["error"]) == (413, "invalid_request")


def test_a_new_address_in_the_metadata(start):
    file = a_file(replace(PROGRAM, paths=("/oauth/par",), metadata="pushed_authorization_request_endpoint"))
    http = start(file)
    assert http.post("/oauth/par", data={"x": "y"}, base_url=ISSUER).text == "y"


def test_a_form_of_a_new_endpoint_is_protected(start):
    """With the parameter that it declares a POST proves that our page has sent it; without, it need not."""
    http = start(a_file(USER))
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}
    assert http.post("/oauth/new", data={"x": "y"}, headers=foreign, base_url=ISSUER).text == "y"
    for headers in (foreign, {}):
        answer = http.post("/oauth/new", data={"x": "y", "ticket": "t"}, headers=headers, base_url=ISSUER)
        assert (answer.status_code, answer.mimetype) == (400, "text/html")


def test_a_page_may_declare_more(start):
    """A page that declares nothing falls under one policy with all others; one that does, under its own."""
    declared = replace(PAGE, paths=("/new",), methods=("GET",), csrf=Csrf.NO_FORM, body_limit=0)
    http = start(pages=[a_file(declared, name="pages.new")])
    assert http.get("/new", base_url=ISSUER).status_code == 200


def test_health_is_for_any_host_and_for_no_page():
    assert (health.policy.any_host, health.policy.cors) == (True, Cors.NONE)
