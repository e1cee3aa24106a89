"""Whatever arrives in a parameter, a header or a path, the answer is in order, and nothing is lost.

Ten kinds of hostile values (`values.py`) go into every parameter in every way (`ways.py`) and into every
header, from strangers and from callers past the first checks (`routes.py`), and into the JSON of what clients
sign (`signed.py`); `checks.py` says what must hold of each answer, `watch.py` sees what it leaves behind. The
routes come from the app's own map, and what is read of a request is watched: a route, parameter, header or
cookie that is not named fails here.
"""

import itertools
import json
import logging
import os
import zlib
from dataclasses import replace
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, configuration, given, seed, settings
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.test import run_wsgi_app

import store.migration_state
from app import create_app
from config import Settings
from middleware import request_checks
from models import Scope, db
from protocol.parameters import HINTS, KNOWN
from services import passwords
from tests.builders import ISSUER, PASSWORD, SECRET_KEY, refresh_request
from tests.generated.cheap import make_hashes_cheap
from tests.generated.checks import OWN_PATH, is_refusal, log_problems, problems
from tests.generated.raw import RawRequest, quoted, send
from tests.generated.routes import AUTHORIZATION, CASES, DAN, FURTHEST, World, basic
from tests.generated.signed import (
    BENT_TOKENS,
    CLAIMS_OF_ASSERTIONS,
    CLAIMS_OF_REQUESTS,
    HEADERS_OF_TOKENS,
    JSON_PLACES,
    bend,
    json_values,
)
from tests.generated.values import ten_values
from tests.generated.watch import Log, Rows
from tests.generated.ways import (
    HEADERS,
    HEADERS_OF_FILES,
    HEADERS_OF_FORMS,
    HEADERS_OF_INTROSPECTION,
    OTHER_WAYS,
    PATHS,
    UNREAD_HEADERS,
    instead,
    left_out,
    one_way_each,
)
from tests.jose import with_assertion
from tests.statements import text

MANY = 1_000_000
PATIENT = dict.fromkeys(
    (
        "failed_sign_ins_per_account_and_address",
        "failed_sign_ins_per_account",
        "failed_sign_ins_per_address",
        "failed_client_authentications_per_client",
        "failed_client_authentications_per_address",
    ),
    MANY,
)
SHORT, LONG = 1, 20  # examples of ten values each
FEW = int(
    os.environ.get("TEST_EXAMPLES", "5")
)  # of headers that every route reads alike, and of paths, in the long form
THROTTLED = (b"/oauth/token", b"/oauth/introspect", b"/oauth/revoke", b"/login", b"/signup")
METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "GE\xe9T",
]

SIMPLEST = next(case for case in CASES if case.name == "healthz")

in_both_lengths = pytest.mark.parametrize(
    "is_long",
    [False, pytest.param(True, marks=[pytest.mark.whole_machine, pytest.mark.timeout(300)])],
    ids=["short", "long"],
)


def of_each(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


# ---- the app under test ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def home_of_hypothesis(tmp_path_factory):
    """It keeps tables of characters somewhere: not in the project's folder."""
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture(scope="module", autouse=True)
def cheap_hashes():
    with pytest.MonkeyPatch.context() as patch:
        make_hashes_cheap(patch)
        yield


def make_world(**changed):
    """An in-memory app with its people, behind a trusted proxy, which is where forwarded headers count."""
    settings = {"database_url": "sqlite://", "secret_key": SECRET_KEY, "trusted_proxies": "127.0.0.1/32"}
    app = create_app(Settings(issuer=ISSUER, signup="open", **settings, **changed))
    with app.app_context():
        db.create_all()
        db.session.add_all(
            [Scope(name=name, description=f"See your {name}") for name in ("openid", "profile", "email")]
        )
        db.session.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        newest = {"revision": store.migration_state.revisions()[0]}
        db.session.execute(text("INSERT INTO alembic_version VALUES (:revision)"), newest)
        db.session.commit()
    world = World(app, ISSUER, SECRET_KEY, passwords.hash_password(PASSWORD))
    world.rows, world.log = Rows(app), Log()
    return world


def end(world):
    world.log.end()
    with world.app.app_context():
        db.engine.dispose()


@pytest.fixture(scope="module")
def world():
    """One app for the whole module. It forgives failures: `test_throttled_callers` has one that does not."""
    world = make_world(**PATIENT)
    yield world
    end(world)


@pytest.fixture(autouse=True)
def nothing_is_lost(world):
    """After each test the bystander's token and session are what they were."""
    yield
    assert is_live(world)


def is_live(world):
    authorization = "Bearer " + world.bystander_access_token
    return send(world.app, world.get(b"/api/me", Authorization=authorization).request()).status == 200


# ---- what is asked -----------------------------------------------------------------------------------------


def for_values(name, examples, is_long=False, *, values=ten_values):
    """Run a function with dictionaries of values. They are the same ones each time, but for the long form.

    Nothing is shrunk: a function sends hundreds of requests for each dictionary, and the one that failed is
    shown.
    """
    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        verbosity=Verbosity.quiet,
    )

    def decorate(function):
        run = options(given(values())(function))
        return run if is_long else seed(zlib.crc32(name.encode()))(run)

    return decorate


def check(world, request, value, where, **allowed):
    """Send it. What is kept for the pages that come after it is looked at there too."""
    answer = check_once(world, request, value, where, **allowed)
    if allowed.get("name", b"").decode("latin-1") in HINTS and (onward := followed(request, answer)):
        check_once(world, onward, value, where, **allowed)


def check_once(world, request, value, where, **allowed):
    rows = world.rows.inserted()
    world.log.lines.clear()
    answer = send(world.app, request)
    path = unquote_to_bytes(request.target.partition(b"?")[0]).decode("latin-1")
    found = problems(answer, path, value, **allowed) + log_problems(world.log.lines, value)
    if is_refusal(answer) and world.rows.inserted() != rows:
        found.append("a refusal left a row")
    assert not found, f"{where}: {found}\n{request}\n{answer}"
    return answer


def followed(request, answer):
    """Where an authorization request leads to inside this site; None where it does not."""
    location = answer.headers.get("Location", "")
    if not request.target.startswith(b"/oauth/authorize") or not OWN_PATH.fullmatch(location):
        return None
    kept = {name: line for name, line in request.headers if name in (b"Host", b"Cookie")}
    if cookie := answer.headers.get("Set-Cookie"):
        kept[b"Cookie"] = cookie.partition(";")[0].encode()
    return RawRequest(b"GET", location.encode(), tuple(kept.items()))


# Not each value in each of the other ways, but each way for a share of the parameters.
SHARES = itertools.cycle([OTHER_WAYS[first::4] for first in range(4)])
TURNS = itertools.count()


def check_parameters(world, case, values, other_ways, **allowed):
    """Each value in place of each parameter, and each of these other ways to send it with one of
    the values.
    """
    for number, (place, name) in enumerate(case.parameters()):
        kinds = [*list(values)[number % len(values) :], *list(values)[: number % len(values)]]
        ways = [(instead, kind) for kind in kinds]
        ways += zip(other_ways, itertools.cycle(kinds), strict=False)
        for way, kind in ways:
            request = way(case.parts(world), place, name, values[kind])
            where = f"{case.name}: {name.decode()} {way.__name__} ({kind})"
            check(world, request, values[kind], where, name=name, **allowed)


@pytest.mark.threat("T164")
@in_both_lengths
@of_each(CASES)
def test_parameters(world, case, is_long):
    @for_values(case.name, LONG if is_long else SHORT, is_long)
    def run(values):
        check_parameters(world, case, values, next(SHARES))

    run()


def check_headers(world, case, headers, values, shares=1):
    """In the ways there are, of which one in `shares` has its turn."""
    for name, ways in headers.items():
        for way, kind in one_way_each(ways, values)[next(TURNS) % shares :: shares]:
            parts = case.parts(world)
            request = parts.with_header(name, way(parts.header(name), values[kind]))
            where = f"{case.name}: {name.decode()} ({kind})"
            check(world, request, values[kind], where, is_early=name == b"Host")


def headers_of(case):
    """The headers that may be read for this case."""
    forms = HEADERS_OF_FORMS if "csrf_token" in case.form else {}
    files = HEADERS_OF_FILES if "stylesheet" in case.name else {}
    return HEADERS | forms | files | (HEADERS_OF_INTROSPECTION if "introspection" in case.name else {})


# By way of all headers, or by comparing two sets of names: that is not seen.
READ_WITH_OTHERS = {"COOKIE", "FORWARDED", "X_FORWARDED_HOST"}


def headers_read(world, case):
    """Those of them that are read for the right request."""
    read = names_read(world, case) | READ_WITH_OTHERS
    return {name: ways for name, ways in headers_of(case).items() if key_of(name) in read}


def headers_of_view(world, case):
    """What is read for the simplest of all requests too is read by the same code for every route: these are
    not.
    """
    before_views = names_read(world, SIMPLEST)
    return {
        name: ways for name, ways in headers_read(world, case).items() if key_of(name) not in before_views
    }


def without(headers, others):
    return {name: ways for name, ways in headers.items() if name not in others}


@pytest.mark.long
@pytest.mark.threat("T164")
@in_both_lengths
@of_each(FURTHEST)
def test_headers(world, case, is_long):
    headers = headers_read(world, case)
    assert len(headers) >= 5
    of_view = headers_of_view(world, case)

    @for_values(f"headers of {case.name}", FEW if is_long else SHORT, is_long)
    def run(values):
        check_headers(world, case, of_view, values)
        check_headers(world, case, without(headers, of_view), values, 1 if is_long else 4)

    run()


@pytest.mark.whole_machine
@pytest.mark.timeout(300)
@of_each(FURTHEST)
def test_headers_of_views_at_length(world, case):
    headers = headers_of_view(world, case)

    @for_values(f"headers of {case.name}", LONG - FEW, is_long=True)
    def run(values):
        check_headers(world, case, headers, values)

    run()


@pytest.mark.long
@in_both_lengths
@of_each(FURTHEST)
def test_other_headers(world, case, is_long):
    """All at once, each with a value of its own: most of them make no difference."""
    others = HEADERS | HEADERS_OF_FORMS | HEADERS_OF_FILES | HEADERS_OF_INTROSPECTION | UNREAD_HEADERS
    names = sorted(others.keys() - headers_read(world, case))

    @for_values(f"other headers of {case.name}", FEW if is_long else SHORT, is_long)
    def run(values):
        kinds = list(values)
        for turn, kind in enumerate(kinds):
            request = case.parts(world).request()
            more = tuple(
                (name, values[kinds[(number + turn) % len(kinds)]]) for number, name in enumerate(names)
            )
            request = replace(request, headers=request.headers + more)
            check(world, request, values[kind], f"{case.name}: other headers ({kind} first)")

    run()


@pytest.mark.threat("T164")
@in_both_lengths
@of_each(FURTHEST)
def test_paths(world, case, is_long):
    @for_values(f"paths of {case.name}", FEW if is_long else SHORT, is_long)
    def run(values):
        for way, kind in one_way_each(PATHS, values):
            parts = case.parts(world)
            request = replace(parts.request(), target=way(parts.path, quoted(values[kind])))
            check(world, request, values[kind], f"{case.name}: path ({kind})")

    run()


# ---- what is signed ----------------------------------------------------------------------------------------


def check_json(world, values, places, make):
    """Each value at each place of the JSON, as `make(place, text)` puts it into a request."""
    for place in places:
        for kind, value in values.items():
            check(world, make(place, value.text).request(), value.sent, f"{place} ({kind})", name=place.name)


@pytest.mark.long
@pytest.mark.threat("T164")
@in_both_lengths
def test_request_objects(world, is_long):
    """Signed by the client's own key, so that all that is in them is read."""

    def make(place, text):
        query = {"client_id": "web", "response_type": "code", "scope": "openid"}
        query["request"] = bend(world.request_object(), place, text)
        people = [] if place.name.decode() in HINTS else [DAN]  # a hint is shown to those who are to sign in
        return world.get(b"/oauth/authorize", query, Cookie=world.browser(*people).cookie)

    @for_values("request objects", LONG if is_long else SHORT, is_long, values=json_values)
    def run(values):
        check_json(world, values, [*CLAIMS_OF_REQUESTS, *HEADERS_OF_TOKENS], make)

    run()


@pytest.mark.long
@pytest.mark.threat("T164")
@in_both_lengths
@pytest.mark.parametrize("client_id", ["keys", "hmac"])
def test_client_assertions(world, client_id, is_long):
    def make(place, text):
        assertion = bend(world.assertion(client_id), place, text)
        return world.post(b"/oauth/revoke", {"token": "ost_at_x", **with_assertion(assertion)})

    @for_values(f"assertions {client_id}", LONG if is_long else SHORT, is_long, values=json_values)
    def run(values):
        headers = HEADERS_OF_TOKENS if is_long or client_id == "keys" else []
        check_json(world, values, [*CLAIMS_OF_ASSERTIONS, *headers], make)

    run()


@pytest.mark.threat("T164")
@in_both_lengths
def test_claims_parameter(world, is_long):
    def make(place, text):
        query = AUTHORIZATION | {"claims": place.fill(text)}
        return world.get(b"/oauth/authorize", query, Cookie=world.browser(DAN).cookie)

    @for_values("claims", LONG if is_long else SHORT, is_long, values=json_values)
    def run(values):
        check_json(world, values, JSON_PLACES, make)

    run()


@pytest.mark.threat("T164")
@in_both_lengths
def test_bent_tokens(world, is_long):
    """A token that was good, with a value in one of its segments: as a hint, as an assertion, as an access
    token.
    """
    places = {
        "id_token_hint": lambda token: world.get(
            b"/oauth/authorize", AUTHORIZATION | {"id_token_hint": token}, Cookie=world.browser(DAN).cookie
        ),
        "hint of a sign-out": lambda token: world.get(b"/oauth/logout", {"id_token_hint": token}),
        "client_assertion": lambda token: world.post(
            b"/oauth/revoke", {"token": "x", **with_assertion(token)}
        ),
        "request": lambda token: world.get(b"/oauth/authorize", {"client_id": "web", "request": token}),
        "access_token": lambda token: world.post(b"/oauth/userinfo", {"access_token": token}),
    }
    tokens = [
        world.id_token(DAN),
        world.assertion("keys"),
        world.request_object(),
        world.signed_access_token(),
    ]

    @for_values("bent tokens", LONG if is_long else SHORT, is_long)
    def run(values):
        for place, make in places.items():
            for number, (name, way) in enumerate(BENT_TOKENS.items()):
                for kind, value in list(values.items())[number % 5 :: 5]:
                    token = way(tokens[number % len(tokens)].encode(), value)
                    check(world, make(token).request(), value, f"{place}: {name} ({kind})")

    run()


# ---- nothing is left out -----------------------------------------------------------------------------------


def routes(app):
    """Every address with its method: what Flask adds by itself (HEAD, OPTIONS) is asked for in
    `test_methods`.
    """
    return {
        (rule.rule, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def routes_of_cases(world):
    """What the right requests reach."""
    reached = set()
    for case in CASES:
        parts = case.parts(world)
        method = parts.method.decode()
        if method != "OPTIONS":
            adapter = world.app.url_map.bind("op.example")
            rule, _arguments = adapter.match(parts.path.decode(), method, return_rule=True)
            reached.add((rule.rule, method))
    return reached


def test_every_route_has_a_case(world):
    assert routes(world.app) == routes_of_cases(world)


def test_a_route_without_a_case_is_found(world):
    app = create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))
    app.add_url_rule("/planted", view_func=lambda: "", methods=["PUT"])
    assert routes(app) - routes_of_cases(world) == {("/planted", "PUT")}


def test_the_values_of_paths_reach_every_argument(world):
    with_arguments = {rule.rule for rule in world.app.url_map.iter_rules() if rule.arguments}
    assert with_arguments == {"/static/<path:filename>"}  # `test_paths` has what follows the last slash


@of_each(CASES)
def test_the_right_request_gets_through(world, case):
    assert send(world.app, case.parts(world).request()).status == case.status


def watched_request(seen):
    """A request class that puts the name of each parameter and cookie that is read into `seen`."""

    class Watched(ImmutableMultiDict):
        def __getitem__(self, name):
            seen.add(name)
            return super().__getitem__(name)

        def __contains__(self, name):
            seen.add(name)
            return super().__contains__(name)

        def getlist(self, *arguments, **rest):
            seen.add(arguments[0])
            return super().getlist(*arguments, **rest)

    class WatchedRequest(request_checks.Request):
        parameter_storage_class = Watched
        dict_storage_class = Watched

    return WatchedRequest


@pytest.fixture
def seen(world, monkeypatch):
    seen = set()
    monkeypatch.setattr(world.app, "request_class", watched_request(seen))
    return seen


@of_each(CASES)
def test_no_other_parameter_is_read(world, seen, case):
    """Nor when one of those that are named is missing."""
    parts = case.parts(world)
    for request in (parts.request(), *(left_out(parts, *parameter, b"") for parameter in case.parameters())):
        send(world.app, request)
    cookies = {world.cookie_name.decode() + suffix for suffix in ("", "-device", "-browser-0")}
    assert seen <= {*case.query, *case.form} | cookies


def test_what_is_read_is_seen(world, seen):
    form = {"grant_type": "client_credentials", "client_id": "x"}
    send(world.app, world.post(b"/oauth/token", form, Cookie=b"a=b").request())
    assert "client_id" in seen
    send(world.app, world.get(b"/login", Cookie=world.browser().cookie).request())
    assert {"next", world.cookie_name.decode()} <= seen


def test_what_is_left_behind_is_seen(world):
    rows = world.rows.inserted()
    world.code()
    assert world.rows.inserted() == rows + 1
    world.log.lines.clear()
    logging.getLogger("ostiary.oauth").info("refused: %s %s", "ost_ac_" + "c" * 43, "what was sent")
    assert len(log_problems(world.log.lines, b"what was sent")) >= 2


def test_every_parameter_of_the_protocol_is_named():
    """`/oauth/authorize` takes its parameters from this list, all at once."""
    assert {name for case in CASES for name in (*case.query, *case.form)} >= KNOWN | HINTS


class WatchedEnviron(dict):
    """Notes the headers that are read, in `seen`."""

    def __init__(self, environ, seen):
        super().__init__(environ)
        self.seen = seen

    def copy(self):
        return WatchedEnviron(self, self.seen)

    def __getitem__(self, key):
        self.seen.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.seen.add(key)
        return super().__contains__(key)

    def get(self, key, default=None):
        self.seen.add(key)
        return super().get(key, default)

    def pop(self, key, *default):
        self.seen.add(key)
        return super().pop(key, *default)


def names_read(world, case):
    """The names of the headers that are asked for while the right request is answered, as WSGI
    spells them.
    """
    seen = set()
    run_wsgi_app(world.app, WatchedEnviron(case.parts(world).request().environ(), seen), buffered=True)
    return {key.removeprefix("HTTP_") for key in seen if key.startswith(("HTTP_", "CONTENT_"))}


def key_of(header):
    return header.decode().upper().replace("-", "_")


@of_each(FURTHEST)
def test_no_other_header_is_read(world, case):
    read = names_read(world, case)
    assert "HOST" in read
    assert read <= {key_of(name) for name in headers_of(case)}


# ---- methods, throttles, and what is left afterwards -------------------------------------------------------


@pytest.mark.threat("T164")
@of_each(FURTHEST)
@pytest.mark.parametrize("method", METHODS)
def test_methods(world, case, method):
    """A method is served, or refused with the list of those that are."""
    request = replace(case.parts(world).request(), method=method.encode("latin-1"))
    path = request.target.partition(b"?")[0].decode()
    answer = send(world.app, request)
    assert (answer.status == 405) == (method not in served_methods(world.app, path))
    if answer.status == 405:
        assert method not in answer.headers["Allow"].split(", ")
    assert not problems(answer, path, b"")


def served_methods(app, path):
    matches = app.url_map.bind("op.example").allowed_methods(path)
    return set(matches) - (
        {"HEAD"} if path in ("/oauth/authorize", "/oauth/logout") else set()
    )  # they change something


@pytest.mark.long
def test_throttled_callers():
    """With the limits as they are: whoever fails too often is told to wait, and nothing else changes."""
    world = make_world()

    @for_values("throttled", SHORT)
    def run(values):
        for case in CASES:
            if case.parts(world).path in THROTTLED:
                some = dict(list(values.items())[next(TURNS) % 2 :: 2])
                check_parameters(world, case, some, [], may_wait=True)

    run()
    stranger = world.post(
        b"/oauth/token", {"grant_type": "client_credentials"}, Authorization=basic("nobody")
    ).request()
    assert 429 in [send(world.app, stranger).status for _ in range(30)]
    assert is_live(world)
    end(world)


def test_the_refresh_token_of_somebody_else_still_works(world):
    form = refresh_request(world.bystander_refresh_token)
    answer = send(world.app, world.post(b"/oauth/token", form, Authorization=basic("web")).request())
    assert answer.status == 200
    pair = json.loads(answer.body)
    world.bystander_access_token, world.bystander_refresh_token = pair["access_token"], pair["refresh_token"]
