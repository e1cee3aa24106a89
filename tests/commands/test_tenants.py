"""`flask tenants …`: issuers beside the server's own, and `--tenant` on every other command."""

import json
import re

import pytest

from app import create_app
from config import Settings
from models import Client, Scope, Tenant, Token, User, db
from protocol import clock
from services import tenant_registry, tenant_settings
from services.current import state_of
from services.tenant_state import entered
from tests.builders import (
    ISSUER,
    PASSWORD,
    REDIRECT_URI,
    a_client,
    a_machine,
    a_notice,
    a_token,
    a_user,
    basic,
)
from tests.commands.conftest import a_signing_key
from tests.statements import select

ACME = f"{ISSUER}/t/acme"
TENANTS = select(Tenant.name, Tenant.issuer, Tenant.settings, Tenant.branding).order_by(Tenant.id)
HOME = ("home", None, {}, {})
NAMED = select(Tenant.name).order_by(Tenant.id)
MACHINE = {"grant_type": "client_credentials"}


@pytest.fixture
def settings(settings):
    return Settings(**{**settings.model_dump(), "tenants": "on"})


@pytest.fixture
def acme(flask_json):
    return flask_json("tenants", "add", "acme")


@pytest.fixture
def at(app):
    """Store rows of a tenant."""

    def at(name, *rows):
        known = state_of(app).tenants
        with app.app_context():
            by_id = dict(db.session.execute(select(Tenant.name, Tenant.id)).all())
            db.session.remove()
            known.forget()
            with entered(known.by_id(by_id[name])):
                for row in rows:
                    db.session.add(row)
                    db.session.flush()
                db.session.commit()
                db.session.remove()

    return at


@pytest.fixture
def half_a_minute_later(monkeypatch):
    """From now on the app reads its tenants again at each request."""
    return lambda: monkeypatch.setattr(tenant_registry, "REREAD_SECONDS", 0.0)


# ---- which settings ----------------------------------------------------------------------------------------


def test_each_setting_is_a_tenants_or_the_process_s():
    """Whoever adds one decides: `services/tenant_settings.py` says by what."""
    of_tenant, of_process = tenant_settings.OF_TENANT, tenant_settings.OF_PROCESS
    assert of_tenant | of_process == Settings.model_fields.keys()
    assert of_tenant & of_process == set()


def test_every_setting_of_a_tenant_takes_a_value_of_its_json_type_alone():
    samples = {"signup": "open", "redirect_schemes": ["cursor"]}
    for name in tenant_settings.OF_TENANT:
        value = samples.get(name, 600)
        assert list(tenant_settings.find_problems({name: value})) == [], name
        for wrong in ("600", True, {}, None) if name not in samples else (600, True, {}):
            with pytest.raises(Exception, match=name):
                tenant_settings.build(a_home(), 2, ACME, {name: wrong})


def a_home():
    return Settings(issuer=ISSUER, database_url="sqlite://", secret_key="k" * 32, tenants="on")


# ---- add, list, show ---------------------------------------------------------------------------------------


def test_add_makes_an_issuer_at_home_s_origin(flask, rows):
    done = flask("tenants", "add", "acme")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(f"Added the tenant acme: {ACME}\nIssuer {ISSUER}, database sqlite:///")
    assert rows(TENANTS) == [HOME, ("acme", None, {}, {})]


def test_it_has_the_scopes_of_openid_connect(flask_json, acme):
    assert flask_json("scopes", "list", "--tenant", "acme") == flask_json("scopes", "list")


def test_add_says_everything_in_json(acme):
    assert acme == {
        "name": "acme",
        "issuer": ACME,
        "settings": {},
        "branding": {},
        "created_at": clock.now(),
        "disabled_at": None,
    }


def test_an_issuer_of_its_own(flask_json, rows):
    added = flask_json("tenants", "add", "acme", "--issuer", "https://login.acme.example/id")
    assert added["issuer"] == "https://login.acme.example/id"
    assert rows(TENANTS)[1] == ("acme", "https://login.acme.example/id", {}, {})


@pytest.mark.parametrize("name", ["", "Acme", "a.b", "a/b", "a_b", "é", "a b", "acme\n", "x" * 41, "\udcff"])
def test_what_is_no_name(refused, rows, name):
    assert "cannot be a tenant's name: use 1 to 40 of a-z, 0-9 and -" in refused("tenants", "add", name)
    assert rows(NAMED) == [("home",)]


@pytest.mark.parametrize("name", ["a", "-", "0", "well-known", "x" * 40])
def test_what_is_a_name(flask_json, name):
    assert flask_json("tenants", "add", name)["issuer"] == f"{ISSUER}/t/{name}"


@pytest.mark.parametrize("name", ["acme", "home"])
def test_a_name_is_given_once(refused, acme, rows, name):
    assert f"there is a tenant '{name}' already" in refused("tenants", "add", name)
    assert rows(NAMED) == [("home",), ("acme",)]


@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        ("https://op.example/acme", "at the host of another issuer"),
        ("https://op.example:443", "the issuer must be like"),
        ("https://taken.example/other", "at the host of another issuer"),
        ("http://login.acme.example", "the issuer must use https"),
        ("http://127.0.0.1:9", "the issuer must begin with https"),
        ("https://localhost:9", "must not be a loopback address"),
        ("https://login.acme.example/", "must not end in a slash"),
        ("https://LOGIN.acme.example", "the issuer must be like"),
        ("https://login.acme.example?x", "the issuer must be like"),
        ("https://" + "a." * 150 + "example", "at most 300 characters"),
        ("nonsense", "the issuer must be like"),
        ("", "the issuer must be like"),
        ("\udcff", "the issuer must be like"),
    ],
)
def test_what_is_no_issuer_of_a_tenant(flask, refused, rows, issuer, words):
    flask("tenants", "add", "taken", "--issuer", "https://taken.example")
    assert words in refused("tenants", "add", "acme", "--issuer", issuer)
    assert rows(NAMED) == [("home",), ("taken",)]


def test_another_port_is_another_host(flask_json):
    added = flask_json("tenants", "add", "acme", "--issuer", "https://op.example:8443")
    assert added["issuer"] == "https://op.example:8443"


def test_all_that_is_wrong_is_told_at_once(refused):
    told = refused("tenants", "add", "No Name", "--issuer", "nonsense")
    assert "cannot be a tenant's name" in told
    assert "the issuer must be like" in told


def test_list_shows_each_by_name(flask, flask_json, acme):
    other = flask_json("tenants", "add", "aaa", "--issuer", "https://aaa.example")
    assert flask_json("tenants", "list") == [other, acme]
    heading, first, second = flask("tenants", "list").stdout.splitlines()
    assert heading.split() == ["NAME", "ISSUER", "CREATED_AT", "DISABLED_AT"]
    assert first.split()[:2] == ["aaa", "https://aaa.example"]
    assert re.fullmatch(rf"acme +{ACME} +\d{{4}}-\S+Z +-", second)


def test_show_has_the_settings_as_they_are_set(flask, flask_json, acme):
    members = ("max_sessions=3", 'signup="open"', 'redirect_schemes=["cursor"]', 'branding.name="Acme"')
    assert flask("tenants", "set", "acme", *members).exit_code == 0
    lines = flask("tenants", "show", "acme").stdout.splitlines()
    assert dict(line.split(maxsplit=1) for line in lines[4:]) == {
        "max_sessions": "3",
        "signup": '"open"',
        "redirect_schemes": '["cursor"]',
        "branding.name": '"Acme"',
    }
    assert flask_json("tenants", "show", "acme")["settings"] == {
        "max_sessions": 3,
        "signup": "open",
        "redirect_schemes": ["cursor"],
    }


# ---- set ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "member",
    ["access_token_lifetime=60", "refresh_leeway=0.5", "max_sessions=7", "redirect_schemes=[]"],
)
def test_a_value_is_kept_as_it_was_given(flask_json, acme, rows, member):
    name, _equals, value = member.partition("=")
    assert flask_json("tenants", "set", "acme", member)["settings"] == {name: json.loads(value)}
    assert rows(TENANTS)[1][2] == {name: json.loads(value)}


def test_null_takes_one_back_and_the_others_stay(flask_json, acme, rows):
    flask_json("tenants", "set", "acme", "max_sessions=3", "refresh_leeway=1")
    flask_json("tenants", "set", "acme", "max_sessions=null", "throttle_period=null")
    assert rows(TENANTS)[1][2] == {"refresh_leeway": 1}


WRONG = [
    ("max_sessions=0", "max_sessions should be greater than or equal to 1"),
    ("max_sessions=100001", "max_sessions should be less than or equal to 100000"),
    ('max_sessions="4711"', "max_sessions must be a whole number"),
    ("max_sessions=4711.5", "max_sessions must be a whole number"),
    ("max_sessions=true", "max_sessions must be a whole number"),
    ('access_token_lifetime="4711"', "access_token_lifetime must be a number of seconds"),
    ("access_token_lifetime=true", "access_token_lifetime must be a number of seconds"),
    ("access_token_lifetime=[4711]", "access_token_lifetime must be a number of seconds"),
    ("access_token_lifetime=0", "access_token_lifetime should be greater than or equal to 1"),
    ("access_token_lifetime=-4711", "access_token_lifetime should be greater than or equal to 1"),
    ("access_token_lifetime=1e300", "access_token_lifetime must be a number of seconds"),
    (
        "authorization_code_lifetime=4711",
        "authorization_code_lifetime should be less than or equal to 600",
    ),
    ("signing_key_lifetime=600", "signing_key_lifetime must be at least twice jwks_cache_lifetime"),
    ('signup="4711"', "signup should be 'open' or 'closed'"),
    ("signup=true", "signup should be 'open' or 'closed'"),
    ('redirect_schemes="4711"', "redirect_schemes must be a list of texts"),
    ("redirect_schemes=[4711]", "redirect_schemes must be a list of texts"),
    ('redirect_schemes=["4711"]', "redirect_schemes must hold names of schemes"),
    ('redirect_schemes=["https"]', "redirect_schemes must not hold a scheme that browsers"),
    ('secret_key="4711"', "secret_key is no setting of a tenant: the environment has it, for all tenants"),
    (
        'issuer="https://4711.example"',
        "issuer is no setting of a tenant: it is chosen when the tenant is added",
    ),
    ("allow_private_addresses=true", "allow_private_addresses is no setting of a tenant"),
    ("no_such_thing=4711", "no_such_thing is no setting of a tenant"),
    ("OSTIARY_MAX_SESSIONS=2", "OSTIARY_MAX_SESSIONS is no setting of a tenant. Did you mean max_sessions?"),
    ("max_session=4711", "max_session is no setting of a tenant. Did you mean max_sessions?"),
    ("access_token_lifetime=NaN", "'access_token_lifetime': write NAME=JSON"),
    ("access_token_lifetime=1e999", "'access_token_lifetime': write NAME=JSON"),
    ("access_token_lifetime=", "'access_token_lifetime': write NAME=JSON"),
    ("signup=open", """'signup': write NAME=JSON, with text in double quotes, and all of it in single"""),
    ("=4711", "'': write NAME=JSON"),
    ("branding.name=4711", "branding.name must be a text"),
    ('branding.name=""', "branding.name must be printable text of 1 to 40 characters"),
    (f'branding.name="{"4711" * 11}"', "branding.name must be printable text of 1 to 40 characters"),
    ('branding.name="a\\u202e4711"', "branding.name must be printable text of 1 to 40 characters, without"),
    ('branding.logo="4711"', "branding.logo is no member of the branding"),
    ('branding.="4711"', "branding. is no member of the branding"),
]


@pytest.mark.parametrize(("member", "words"), WRONG, ids=[member for member, _words in WRONG])
def test_what_will_not_do_is_told_by_its_name_and_stores_nothing(refused, acme, rows, member, words):
    told = refused("tenants", "set", "acme", "refresh_leeway=1", member)
    assert words in told
    assert "4711" not in told
    assert rows(TENANTS)[1] == ("acme", None, {}, {})


def test_all_wrong_members_are_told_at_once(refused, acme):
    told = refused("tenants", "set", "acme", "max_sessions=0", 'signup="x"', "branding.logo=1", "x=NaN")
    assert [name for name in ("max_sessions", "signup", "branding.logo", "'x'") if name not in told] == []


def test_a_member_is_given_once(refused, acme):
    assert "'signup': give it once" in refused("tenants", "set", "acme", "signup=null", "signup=null")


def test_a_member_is_needed(flask, acme):
    assert flask("tenants", "set", "acme").exit_code == 2


def test_a_pair_that_does_not_fit_is_refused_in_any_order(refused, flask_json, acme):
    flask_json("tenants", "set", "acme", "signing_key_lifetime=3600")
    assert "signing_key_lifetime must be at least twice" in refused(
        "tenants", "set", "acme", "jwks_cache_lifetime=3600"
    )


def test_lifetimes_of_a_tenant_are_in_force_for_its_tokens_alone(
    flask_json, acme, at, http, half_a_minute_later
):
    for name in ("home", "acme"):
        at(name, a_machine(scope="profile"))

    def lifetime(issuer):
        answer = http.post(f"{issuer}/oauth/token".removeprefix(ISSUER), data=MACHINE, auth=basic("robot"))
        assert answer.status_code == 200, answer.text
        return answer.json["expires_in"]

    assert (lifetime(ISSUER), lifetime(ACME)) == (600, 600)
    flask_json("tenants", "set", "acme", "access_token_lifetime=77")
    assert lifetime(ACME) == 600  # for half a minute at most
    half_a_minute_later()
    assert (lifetime(ISSUER), lifetime(ACME)) == (600, 77)
    flask_json("tenants", "set", "acme", "access_token_lifetime=null")
    assert lifetime(ACME) == 600


def test_a_name_of_its_own_stands_on_every_page(flask_json, acme, http, half_a_minute_later):
    flask_json("tenants", "set", "acme", 'branding.name=" <b>Acme</b>  &amp; Co "')
    half_a_minute_later()
    page = http.get("/t/acme/login").text
    assert "<title>Sign in – &lt;b&gt;Acme&lt;/b&gt; &amp;amp; Co</title>" in page
    assert "Ostiary</a>" not in page
    assert "<b>Acme" not in page
    assert "– Ostiary</title>" in http.get("/login").text


# ---- disable, enable, remove -------------------------------------------------------------------------------


def status(http, path="/t/acme/login"):
    return http.get(path).status_code


def test_a_disabled_tenant_answers_nothing_until_it_is_enabled(flask_json, acme, http, half_a_minute_later):
    assert status(http) == 200
    for command, expected in [("disable", 404), ("disable", 404), ("enable", 200), ("enable", 200)]:
        assert flask_json("tenants", command, "acme") == {"name": "acme"}
        half_a_minute_later()
        assert (status(http), status(http, "/login")) == (expected, 200)


def test_it_is_disabled_since_the_first_time(flask_json, acme, sleep):
    flask_json("tenants", "disable", "acme")
    sleep(60)
    flask_json("tenants", "disable", "acme")
    assert flask_json("tenants", "show", "acme")["disabled_at"] == clock.now() - 60
    flask_json("tenants", "enable", "acme")
    assert flask_json("tenants", "show", "acme")["disabled_at"] is None


def test_commands_work_for_a_disabled_tenant(flask_json, acme):
    flask_json("tenants", "disable", "acme")
    assert flask_json("users", "list", "--tenant", "acme") == []


def test_remove_takes_all_rows_of_the_tenant_and_no_other(
    flask, flask_json, acme, at, http, rows, half_a_minute_later
):
    for name in ("home", "acme"):
        at(name, a_user(id=None), a_client())
        at(name, a_signing_key("key of " + name))
    done = flask_json("tenants", "remove", "acme", "--yes")
    assert done == {"name": "acme", "rows": {"signing_key": 1, "end_user": 1, "client": 1, "scope": 6}}
    for table in reversed(db.metadata.sorted_tables):
        if "tenant_id" in table.c:
            assert {row[0] for row in rows(select(table.c.tenant_id))} <= {1}, table.name
    assert rows(select(User.email)) == [("ada@example.com",)]
    assert rows(select(Client.client_id)) == [("web",)]
    half_a_minute_later()
    assert status(http) == 404
    assert flask("tenants", "show", "acme").exit_code == 1


def test_remove_asks_first(flask, acme, rows):
    done = flask("tenants", "remove", "acme", input="n\n")
    assert done.exit_code == 1
    assert rows(NAMED) == [("home",), ("acme",)]
    assert flask("tenants", "remove", "acme", input="y\n").exit_code == 0
    assert rows(NAMED) == [("home",)]


def test_a_number_is_never_used_again(flask_json, acme, rows):
    """Keys, cookies and tokens of a tenant that is gone are made with its number."""
    [_home, (before,)] = rows(select(Tenant.id).order_by(Tenant.id))
    flask_json("tenants", "remove", "acme", "--yes")
    flask_json("tenants", "add", "acme")
    [_home, (after,)] = rows(select(Tenant.id).order_by(Tenant.id))
    assert after > before


# ---- none such, home, off ----------------------------------------------------------------------------------

OF_ONE = [
    ("show",),
    ("set", "max_sessions=2"),
    ("disable",),
    ("enable",),
    ("remove", "--yes"),
]


@pytest.mark.parametrize("name", ["nope", "", "No Name", "\udcff", "nul\0"])
@pytest.mark.parametrize(("command", "more"), [(command, more) for command, *more in OF_ONE])
def test_there_is_no_such_tenant(refused, acme, command, more, name):
    assert "there is no tenant" in refused("tenants", command, name, *more)


@pytest.mark.parametrize(("command", "more"), [(command, more) for command, *more in OF_ONE])
def test_home_stays_as_it_is(refused, acme, rows, command, more):
    assert "home is this server's own issuer" in refused("tenants", command, "home", *more)
    assert rows(TENANTS) == [HOME, ("acme", None, {}, {})]


class TestOff:
    @pytest.fixture
    def settings(self, settings):
        return Settings(**{**settings.model_dump(), "tenants": "off"})

    @pytest.mark.parametrize(
        "command",
        [
            ("tenants", "add", "acme"),
            ("tenants", "list"),
            *(("tenants", command, "acme", *more) for command, *more in OF_ONE),
            ("users", "list", "--tenant", "acme"),
            ("keys", "list", "--every-tenant"),
            ("config", "check", "--every-tenant"),
            ("config", "check", "--tenant", "acme"),
        ],
        ids=" ".join,
    )
    def test_it_says_why(self, refused, rows, command):
        assert "tenants are off: this server has its own issuer and no other" in refused(*command)
        assert rows(NAMED) == [("home",)]

    def test_home_can_be_named(self, flask_json):
        assert flask_json("users", "list", "--tenant", "home") == []


@pytest.mark.parametrize(
    "command",
    [("add", "other"), ("list",), *((command, "acme", *more) for command, *more in OF_ONE)],
    ids=" ".join,
)
def test_it_is_one_transaction(flask, acme, statements, command):
    statements.clear()
    assert flask("tenants", *command).exit_code == 0
    assert statements.count("COMMIT") == 1
    assert statements[-1] == "COMMIT"
    assert "ROLLBACK" not in statements


# ---- --tenant ----------------------------------------------------------------------------------------------

OWN = [
    ("users", "list"),
    ("clients", "list"),
    ("scopes", "list"),
    ("keys", "list"),
    ("logout-notices", "list"),
]


@pytest.mark.parametrize("command", OWN, ids=" ".join)
def test_what_one_tenant_has_does_not_show_at_another(flask_json, acme, at, command):
    before = flask_json(*command)
    at("acme", a_user(), a_client(), Scope(name="more", description="More"), a_signing_key("key"))
    at("acme", a_notice())
    assert flask_json(*command) == before
    assert len(flask_json(*command, "--tenant", "acme")) == len(before) + 1


def test_what_is_stored_is_the_tenants(flask_json, acme, rows):
    flask_json("users", "add", "ada@example.com", "--password-stdin", "--tenant", "acme", input=PASSWORD)
    flask_json("clients", "add", "Web", "--redirect-uri", REDIRECT_URI, "--tenant", "acme")
    flask_json("scopes", "add", "more", "--description", "More", "--tenant", "acme")
    flask_json("keys", "rotate", "--tenant", "acme")
    assert (flask_json("users", "list"), flask_json("clients", "list"), flask_json("keys", "list")) == (
        [],
        [],
        [],
    )
    [(user,), (client,)] = rows(select(User.tenant_id)), rows(select(Client.tenant_id))
    assert user[0] == client[0] > 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("users", "show", "ada@example.com"), "nobody has the address"),
        (("users", "remove", "ada@example.com", "--yes"), "nobody has the address"),
        (("clients", "show", "web"), "there is no client"),
        (("clients", "rotate-secret", "web"), "there is no client"),
        (("scopes", "remove", "more"), "there is no scope"),
        (("keys", "retire", "key"), "there is no signing key"),
        (("tokens", "revoke", "--client", "web"), "there is no client"),
        (("logout-notices", "list", "--user", "ada@example.com"), "nobody has the address"),
    ],
)
def test_what_another_tenant_has_is_not_there(flask, refused, acme, at, command, words):
    at("home", a_user(), a_client(), Scope(name="more", description="More"), a_signing_key("key"))
    help_text = flask(*command[:2], "--help").stdout
    assert words in refused(
        *(part for part in command if part != "--yes" or part in help_text), "--tenant", "acme"
    )


def test_tokens_of_one_tenant_are_revoked_alone(flask_json, acme, at, rows):
    for name, user_id in (("home", 1), ("acme", 2)):
        at(name, a_user(id=user_id), a_client(), a_token(user_id=user_id))
    revoked = flask_json("tokens", "revoke", "--user", "ada@example.com", "--tenant", "acme")
    assert revoked["tokens"] == 1
    assert rows(select(Token.tenant_id, Token.user_id)) == [(1, 1)]


def test_what_changes_something_says_which_issuer_it_was(flask, acme):
    done = flask("scopes", "add", "more", "--description", "More", "--tenant", "acme")
    assert f"Issuer {ACME}, database sqlite:///" in done.stderr


def test_every_command_of_a_tenants_rows_takes_it(app, flask):
    for noun in ("users", "clients", "scopes", "tokens", "keys", "logout-notices"):
        for command in app.cli.commands[noun].commands:
            assert "--tenant NAME" in flask(noun, command, "--help").stdout, (noun, command)
    for command in app.cli.commands["tenants"].commands:
        assert "--tenant" not in flask("tenants", command, "--help").stdout


@pytest.mark.parametrize("name", ["nope", "", "\udcff"])
def test_no_such_tenant(refused, acme, name):
    assert "there is no tenant" in refused("users", "list", "--tenant", name)


def test_settings_that_do_not_fit_the_process_s_any_more_are_told(app, flask, refused, acme, rows):
    """Its own value was good when it was set; since then the server's setting has changed."""
    flask("tenants", "set", "acme", "jwks_cache_lifetime=60")
    with app.app_context():
        db.session.execute(
            Tenant.__table__.update().where(Tenant.name == "acme").values(settings={"gone": 1})
        )
        db.session.commit()
    told = refused("users", "list", "--tenant", "acme")
    assert told.splitlines() == ["Error: tenant acme: gone is no setting of a tenant"]
    assert flask("tenants", "set", "acme", "gone=null").exit_code == 0
    assert flask("users", "list", "--tenant", "acme").exit_code == 0


# ---- --every-tenant ----------------------------------------------------------------------------------------


@pytest.fixture
def of_two(acme, at):
    at("home", a_user(), a_client(), a_signing_key("key of home"))
    at("home", a_notice())
    at("acme", a_user(id=2), a_client(client_name="Theirs"), a_signing_key("key of acme"))
    at("acme", a_notice(user_id=2), a_notice(user_id=2, sid="2"))


def test_notices_of_all(flask, flask_json, of_two):
    found = flask_json("logout-notices", "list", "--every-tenant")
    assert [(row["tenant"], row["client_name"]) for row in found] == [
        ("home", "Web"),
        ("acme", "Theirs"),
        ("acme", "Theirs"),
    ]
    assert found[0] == {"tenant": "home"} | flask_json("logout-notices", "list")[0]
    heading, *lines = flask("logout-notices", "list", "--every-tenant").stdout.splitlines()
    assert heading.split()[:2] == ["TENANT", "CLIENT_NAME"]
    assert [line.split()[0] for line in lines] == ["home", "acme", "acme"]


def test_keys_of_all(flask, flask_json, of_two):
    found = flask_json("keys", "list", "--every-tenant")
    assert [(row["tenant"], row["kid"]) for row in found] == [
        ("home", "key of home"),
        ("acme", "key of acme"),
    ]
    assert flask("keys", "list", "--every-tenant").stdout.splitlines()[0].startswith("TENANT  KID")


def test_messages_say_whose_they_are(flask, acme):
    done = flask("keys", "list", "--every-tenant")
    assert re.findall("^(.*): There is none yet", done.stderr, re.MULTILINE) == ["home", "acme"]


def test_each_is_a_transaction_of_its_own(flask, of_two, statements):
    flask("keys", "list", "--every-tenant")
    [first, second] = [number for number, sql in enumerate(statements) if "FROM signing_key" in sql]
    assert "COMMIT" in statements[first:second]


def test_one_tenant_or_every(flask, acme):
    done = flask("keys", "list", "--tenant", "acme", "--every-tenant")
    assert done.exit_code == 2
    assert "not both" in done.stderr


def test_what_is_encrypted_is_encrypted_again_for_all(flask_json, of_two):
    found = flask_json("keys", "rewrap", "--every-tenant")
    assert [row["tenant"] for row in found] == ["home", "acme"]


def test_check_of_all(app, flask, flask_json, acme):
    flask("tenants", "set", "acme", "access_token_lifetime=4000", 'signup="open"')
    home, other = flask_json("config", "check", "--every-tenant")
    assert (home["tenant"], home["ok"], home["settings"]["issuer"]) == ("home", True, ISSUER)
    assert home["settings"].keys() == Settings.model_fields.keys()
    assert (other["tenant"], other["ok"], other["settings"]["issuer"]) == ("acme", True, ACME)
    assert other["settings"].keys() == tenant_settings.OF_TENANT | {"issuer"}
    assert other["settings"]["access_token_lifetime"] == 4000
    assert [warning.split()[0] for warning in other["warnings"]] == ["signup", "access_token_lifetime"]
    done = flask("config", "check", "--every-tenant")
    assert "\ntenant acme\nissuer " in done.stdout
    assert "acme: Warning: signup is open" in done.stderr
    assert done.stderr.count("No problem found.") == 2


def test_check_finds_a_tenant_that_cannot_be_served(app, flask, acme):
    with app.app_context():
        db.session.execute(
            Tenant.__table__.update().where(Tenant.name == "acme").values(settings={"gone": 1})
        )
        db.session.commit()
    done = flask("config", "check", "--every-tenant", "--json")
    assert done.exit_code == 1
    [home, other] = json.loads(done.stdout)
    assert (home["ok"], other["ok"]) == (True, False)
    assert other["problems"] == ["tenant acme: gone is no setting of a tenant"]
    assert flask("config", "check").exit_code == 0


def test_check_finds_an_issuer_that_home_has_taken(settings, flask, flask_json):
    """The setting of the server's own issuer may change later."""
    flask("tenants", "add", "acme", "--issuer", "https://new.example/acme")
    moved = create_app(settings.model_copy(update={"issuer": "https://new.example"}))
    done = moved.test_cli_runner().invoke(args=["config", "check", "--every-tenant", "--json"])
    with moved.app_context():
        db.engine.dispose()
    assert done.exit_code == 1
    [home, other] = json.loads(done.stdout)
    assert home["problems"] == []
    assert "https://new.example/acme is at the host of another issuer" in other["problems"][0]


def test_check_of_one(flask_json, acme):
    assert flask_json("config", "check", "--tenant", "acme")["settings"]["issuer"] == ACME
