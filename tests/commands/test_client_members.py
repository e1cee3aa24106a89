"""`flask clients … --set`: members of OpenID Connect, the document of a sector, and warnings."""

import json

import pytest
from joserfc.jwk import ECKey
from sqlalchemy import func

from models import Client
from tests.builders import REDIRECT_URI, a_client
from tests.statements import select
from tests.web import WebServer, http_answer, json_answer

WEB = ("--redirect-uri", REDIRECT_URI)
COUNT_CLIENTS = select(func.count()).select_from(Client)
OTHER = "https://other.example/cb"
JWKS = {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}


def set_options(members=(), **more):
    """`--set` for each member; a name with a number sign comes in the dict."""
    return [
        text
        for name, value in {**dict(members), **more}.items()
        for text in ("--set", f"{name}={json.dumps(value)}")
    ]


@pytest.fixture
def flask_warnings(flask):
    """The warnings of a command that succeeds."""

    def flask_warnings(*arguments):
        done = flask(*arguments, "--json")
        assert done.exit_code == 0, done.stderr
        return [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]

    return flask_warnings


def test_every_kind_of_member_is_stored_and_shown(flask_json, rows):
    members = {
        "application_type": "web",
        "contacts": ["ops@app.example"],
        "client_name#de": "Notizen",
        "logo_uri": "https://app.example/logo",
        "jwks": JWKS,
        "subject_type": "pairwise",
        "id_token_signed_response_alg": "EdDSA",
        "userinfo_signed_response_alg": "ES256",
        "request_object_signing_alg": "ES256",
        "require_signed_request_object": True,
        "default_max_age": 0,
        "default_acr_values": ["urn:ostiary:acr:password"],
        "backchannel_logout_uri": "https://app.example/out",
        "backchannel_logout_session_required": True,
        "access_token_format": "jwt",
        "software_id": "notes",
    }
    added = flask_json("clients", "add", "Web", *WEB, *set_options(members, tos_uri=None))
    assert {name: added[name] for name in members} == members
    assert "tos_uri" not in added
    assert rows(select(Client.extra_metadata)) == [(members,)]
    assert {name: flask_json("clients", "show", added["client_id"])[name] for name in members} == members


@pytest.mark.threat("T149")
def test_a_member_that_is_null_counts_as_left_out(flask_json):
    added = flask_json(
        "clients", "add", "Web", *WEB, *set_options(jwks=None, jwks_uri="https://app.example/jwks")
    )
    assert "jwks" not in added
    changed = flask_json("clients", "set", added["client_id"], *set_options(jwks=JWKS, jwks_uri=None))
    assert (changed["jwks"], "jwks_uri" in changed) == (JWKS, False)


def test_set_checks_the_whole_and_keeps_the_rest(flask_json, refused, seed, rows):
    seed(a_client(extra_metadata={"jwks": JWKS, "subject_type": "pairwise", "require_auth_time": True}))
    assert "exclude each other" in refused(
        "clients", "set", "web", *set_options(jwks_uri="https://app.example/jwks")
    )
    several_hosts = ("--redirect-uri", REDIRECT_URI, "--redirect-uri", OTHER)
    assert "sector_identifier_uri" in refused("clients", "set", "web", *several_hosts)
    changed = flask_json("clients", "set", "web", *set_options(default_max_age=60))
    assert rows(select(Client.extra_metadata)) == [
        ({"jwks": JWKS, "subject_type": "pairwise", "require_auth_time": True, "default_max_age": 60},)
    ]
    assert changed["require_auth_time"] is True


def test_problems_of_members_are_told_with_all_others(refused, rows):
    told = refused(
        "clients", "add", "", *WEB, *set_options(logo_uri=1, jwks=[], default_max_age=-1, contacts="x")
    )
    words = ("the name", "logo_uri", "jwks must", "default_max_age", "contacts")
    assert [word for word in words if word not in told] == []
    assert rows(COUNT_CLIENTS) == [(0,)]


# ---- warnings ----------------------------------------------------------------------------------------------


def test_a_member_that_means_nothing_is_kept_with_a_warning(flask, flask_warnings):
    options = set_options(x_team={"id": 7}, logo_url="https://app.example/logo", contacts=[])
    [team, logo] = flask_warnings("clients", "add", "Web", *WEB, *options)
    assert team == "Warning: x_team means nothing to this server: it is kept and shown, no more."
    assert logo.endswith("Was logo_uri meant?")


def test_a_warning_about_members_comes_once(flask_warnings, seed):
    seed(a_client(extra_metadata={"x_team": 7, "y": 1}))
    assert flask_warnings("clients", "set", "web", *set_options(default_max_age=60, y=None)) == []


def test_an_audience_that_others_can_claim_is_warned_of(flask_warnings):
    client = ("clients", "add", "Web", *WEB, "--auth-method", "private_key_jwt")
    [warning] = flask_warnings(*client, *set_options(jwks=JWKS, assertion_audience="token_endpoint"))
    assert "draft-ietf-oauth-rfc7523bis" in warning
    assert flask_warnings(*client, *set_options(jwks=JWKS, assertion_audience="issuer")) == []


def test_a_lasting_access_token_that_nobody_can_call_back(flask_warnings, seed):
    long = ("--access-token-lifetime", "7200")
    [warning] = flask_warnings("clients", "add", "Web", *WEB, *long, *set_options(access_token_format="jwt"))
    assert "cannot be called back" in warning
    assert flask_warnings("clients", "add", "Web", *WEB, *long) == []
    assert flask_warnings("clients", "add", "Web", *WEB, *set_options(access_token_format="jwt")) == []


def test_people_who_become_others_to_a_client_are_warned_of(flask_warnings, seed):
    seed(a_client())
    [warning] = flask_warnings("clients", "set", "web", *set_options(subject_type="pairwise"))
    assert "another sub" in warning
    assert flask_warnings("clients", "set", "web", "--redirect-uri", "https://app.example/new") == []
    assert len(flask_warnings("clients", "set", "web", "--redirect-uri", "https://new.example/cb")) == 1
    assert flask_warnings("clients", "set", "web", "--name", "New") == []


# ---- sectors -----------------------------------------------------------------------------------------------


@pytest.fixture
def settings(settings):
    """Those of the other commands' tests; documents may lie on loopback."""
    return settings.model_copy(update={"allow_private_addresses": True})


@pytest.fixture
def sector():
    with WebServer(json_answer([REDIRECT_URI, OTHER])) as server:
        yield server


SEVERAL = (*WEB, "--redirect-uri", OTHER)


def test_a_sector_whose_document_names_every_redirect_uri(flask_json, sector):
    pairwise = set_options(subject_type="pairwise", sector_identifier_uri=sector.url)
    added = flask_json("clients", "add", "Web", *SEVERAL, *pairwise)
    assert added["sector_identifier_uri"] == sector.url
    assert len(sector.requests) == 1


@pytest.mark.threat("T153")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (json_answer([REDIRECT_URI]), f"its document lacks '{OTHER}'"),
        (json_answer([REDIRECT_URI + "/", OTHER]), f"lacks '{REDIRECT_URI}'"),
        (json_answer([]), REDIRECT_URI),
        (json_answer({"redirect_uris": [REDIRECT_URI, OTHER]}), "no JSON list"),
        (json_answer([REDIRECT_URI, OTHER, 7]), "no JSON list"),
        (http_answer(b"no json"), "no JSON"),
        (http_answer(status="404 Not Found"), "not answered 200"),
        (http_answer(status="302 Found", Location="https://app.example/"), "not answered 200"),
        (b"", "the connection failed"),
    ],
)
@pytest.mark.parametrize("subject_type", ["pairwise", "public", None])
def test_a_sector_that_is_refused(refused, rows, sector, answer, words, subject_type):
    sector.answer = answer
    options = set_options(subject_type=subject_type, sector_identifier_uri=sector.url)
    told = refused("clients", "add", "Web", *SEVERAL, *options)
    assert "sector_identifier_uri: " in told
    assert words in told
    assert rows(COUNT_CLIENTS) == [(0,)]


def test_redirect_uris_cannot_leave_their_sector(refused, flask_json, seed, sector):
    seed(a_client(extra_metadata={"subject_type": "pairwise", "sector_identifier_uri": sector.url}))
    assert "lacks" in refused("clients", "set", "web", "--redirect-uri", "https://third.example/cb")
    assert flask_json("clients", "set", "web", "--redirect-uri", OTHER)["redirect_uris"] == [OTHER]
    assert len(sector.requests) == 1


def test_a_change_of_something_else_needs_no_document(flask_json, seed, sector):
    seed(a_client(extra_metadata={"subject_type": "pairwise", "sector_identifier_uri": sector.url}))
    flask_json("clients", "set", "web", "--name", "New", "--max-sessions", "2")
    assert sector.requests == []


def test_the_document_is_fetched_before_the_lock(flask, seed, sector, statements):
    """A slow one must not hold up whoever else wants to write."""
    seed(a_client())
    statements.clear()
    reads_before = []

    def reads():  # the first of them takes no lock, the second does
        return [sql for sql in statements if "FROM client " in sql]

    def answer(connection):
        reads_before.extend(reads())
        connection.sendall(json_answer([REDIRECT_URI]))

    sector.answer = answer
    done = flask("clients", "set", "web", *set_options(sector_identifier_uri=sector.url))
    assert done.exit_code == 0, done.stderr
    assert (len(sector.requests), len(reads_before), len(reads())) == (1, 1, 2)


def test_a_url_that_may_not_be_called_is_not(refused, sector):
    told = refused("clients", "add", "Web", *WEB, *set_options(sector_identifier_uri=sector.url + "#x"))
    assert "sector_identifier_uri cannot be called" in told
    assert sector.requests == []
