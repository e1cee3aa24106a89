"""Clients, people, operators and thieves against the model, in orders that nobody thought of (Hypothesis,
stateful testing).

Each step is sent through the front door and predicted by `model.py`; after each step the rows must be those
of the model. The clock is a double: time passes only where a step says so. Short form: the same steps each
time. Long form: others each time, by a seed that a failure prints; `TEST_SEED=…` repeats it.
"""

import logging
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, configuration, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import func

import models
import store.client_sessions
import store.codes
import store.tokens
import store.user_sessions
import store.users
from app import create_app
from config import Settings
from crypto import credentials
from crypto.encryption import encrypt
from models import db
from protocol import clock
from protocol.claims import ACR_PASSWORD, at_hash
from services import sessions
from services.current import state_of
from store.user_sessions import SignIn
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    REDIRECT_URI,
    SECRET_KEY,
    VERIFIER,
    a_client,
    a_code,
    a_refresh_token,
    a_user,
)
from tests.conftest import Browser
from tests.flows import mutations
from tests.generated import model
from tests.generated.cheap import cheap_hash, make_hashes_cheap
from tests.generated.model import (
    BASIC,
    CHOOSE,
    CODE,
    CONSENT,
    DAY,
    HOUR,
    LOGIN,
    MACHINE,
    MICROSECONDS,
    NONE,
    OFFLINE_ACCESS,
    OPENID,
    POST,
    REFRESH,
    Model,
)
from tests.live import PROJECT
from tests.pages import steps
from tests.statements import delete, select, update
from unit_of_work import transaction

OTHER_VERIFIER = "w" * 43
WRONG_SECRET = "wrong secret"
MANY = 1_000_000  # throttles have tests of their own

SCOPES = [
    frozenset({"profile", OPENID}),
    frozenset({"profile", "email"}),
    frozenset({"email", "read"}),
    frozenset({"profile", OPENID, OFFLINE_ACCESS}),
    model.ALL_SCOPES,
]


def words(scope):
    return " ".join(sorted(scope))


def among(*finds):
    """One of what the model has at that moment.

    With several ways to find some, each is as likely as the others.
    """

    def choose(machine):
        found = [find(machine.model) for find in finds]
        return st.sampled_from([some for some in found if some]).flatmap(st.sampled_from)

    return st.runner().flatmap(choose)


def any_of(find):
    """A precondition: there is one to choose."""
    return precondition(lambda machine: find(machine.model))


def code_clients(world):
    return [client for client in world.clients if CODE in client.grants]


def refreshing_clients(world):
    return [client for client in world.clients if REFRESH in client.grants]


def machines(world):
    return [client for client in world.clients if MACHINE in client.grants]


def all_clients(world):
    return world.clients


def all_browsers(world):
    return world.browsers


def all_codes(world):
    return world.codes


def all_access_tokens(world):
    return world.access_tokens


def all_refresh_tokens(world):
    return world.refresh_tokens


def all_tokens(world):
    return world.access_tokens + world.refresh_tokens


def ancestors(world):
    """Every refresh token of a family that is still there."""
    return [token for token in world.refresh_tokens if not token.family.is_ended]


MISTAKES = {
    "none": {},
    "way": {"way": NONE},
    "redirect_uri": {"redirect_uri": "https://app.example/other"},
    "no redirect_uri": {"redirect_uri": None},
    "code_verifier": {"code_verifier": OTHER_VERIFIER},
    "no code_verifier": {"code_verifier": None},
}

people = among(lambda world: world.people)
browsers = among(all_browsers)
clients = among(all_clients)
scopes = st.sampled_from(SCOPES)
# None: the client's own way, the client itself, the scope left out. They come most often, because a refusal
# leads nowhere.
ways = st.sampled_from([None] * 8 + [BASIC, POST, NONE, WRONG_SECRET])
some_client = st.sampled_from([True, True, True, False]).flatmap(
    lambda is_own: st.none() if is_own else clients
)
asked_scopes = st.sampled_from([None] * 6 + [*SCOPES, frozenset({"profile", "other"})])
nudges = st.sampled_from([-1, 0, 1])  # microseconds
edges = st.sampled_from(["leeway", "retry", "access", "refresh", "family"])
mistakes = st.sampled_from(["none", "none", *MISTAKES, "client"])
uses = st.sampled_from(["none", "none", "me", "userinfo", "resource server", "own client"])
prompts = st.sampled_from([None, None, None, "none", "login", "consent", "select_account"])


class Machine(RuleBasedStateMachine):
    """One run: some steps against `app`, whose settings are those of the model and whose tables are there."""

    def __init__(self, app, lifetimes, keys):
        super().__init__()
        self.app = app
        self.keys = keys  # that the server signs with
        self.model = Model(lifetimes)
        self.http = app.test_client()
        self.browsers = {browser: app.test_client() for browser in self.model.browsers}
        self.log = []
        self.cleanup = ExitStack()

    @initialize()
    def start(self):
        patch = self.cleanup.enter_context(pytest.MonkeyPatch.context())
        make_hashes_cheap(patch)
        patch.setattr(clock, "now", lambda: self.model.now)
        patch.setattr(clock, "now_in_microseconds", lambda: self.model.time)
        self.listen_to_the_log()
        self.empty_the_tables()
        self.store(*(models.Scope(name=name, description=name) for name in model.ALL_SCOPES))
        self.store(*map(person_row, self.model.people))
        self.store(*map(client_row, self.model.clients))
        for client in code_clients(self.model):
            self.exchange(self.new_code(self.model.people[0], client, model.ALL_SCOPES))

    def teardown(self):
        self.cleanup.close()

    def listen_to_the_log(self):
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.log.append(record.getMessage())
        for name in ("ostiary.unit_of_work", "ostiary.error_responses"):
            logger = logging.getLogger(name)
            logger.addHandler(handler)
            self.cleanup.callback(logger.removeHandler, handler)

    # ---- the product ---------------------------------------------------------------------------------------

    def empty_the_tables(self):
        with self.app.app_context(), transaction():
            for rows in reversed(db.metadata.sorted_tables):
                if rows.name not in ("tenant", "signing_key"):  # keys take long to make
                    db.session.execute(delete(rows))
        state_of(self.app).client_cache.clear()

    def store(self, *rows):
        with self.app.app_context(), transaction():
            db.session.add_all(rows)

    def post(self, path, client, way, **body):
        """A request by this client, authenticated in this way; parameters that are None are left out."""
        body = {name: value for name, value in body.items() if value is not None}
        auth = None
        if way in (BASIC, WRONG_SECRET):
            auth = (client.id, CLIENT_SECRET if way == BASIC else WRONG_SECRET)
        else:
            body["client_id"] = client.id
        if way == POST:
            body["client_secret"] = CLIENT_SECRET
        answer = self.http.post(path, data=body, auth=auth)
        assert answer.status_code < 500
        return answer

    def check_pair(self, answer, expected):
        """A pair that was told before is told again; a new one is new."""
        check_status(answer, expected)
        if expected.access is None:
            return
        access, refresh = expected.access, expected.refresh
        self.check_token(access, answer.json["access_token"])
        assert ("refresh_token" in answer.json) == (refresh is not None)
        if refresh is not None:
            self.check_token(refresh, answer.json["refresh_token"])
        assert answer.json["expires_in"] == max(access.expires_at - self.model.now, 0)
        assert answer.json["scope"] == words(access.scope)
        assert ("id_token" in answer.json) == expected.has_id_token
        if expected.has_id_token:
            self.check_id_token(answer.json["id_token"], access)
        if access.client.has_jwts:
            said = self.verified(access.text, "at+jwt")
            assert (said["client_id"], said["scope"], said["exp"]) == (
                access.client.id,
                words(access.scope),
                access.expires_at,
            )

    def check_id_token(self, text, access):
        """Who signed in, when, and in which session: through all refreshes."""
        said, code = self.verified(text, "JWT"), access.family.code
        assert said["sub"] == code.person.name
        assert (said["aud"], said.get("auth_time"), said.get("sid")) == (
            code.client.id,
            code.auth_time,
            code.sid,
        )
        assert said["iat"] == self.model.now
        assert said["at_hash"] == at_hash(access.text, "ES256")

    def verified(self, text, typ):
        token = jwt.decode(text, self.keys, algorithms=["ES256"])
        assert token.header["typ"] == typ
        return token.claims

    def check_token(self, token, text):
        if not token.text:
            assert text not in [known.text for known in all_tokens(self.model)]
            token.text = text
        assert text == token.text

    # ---- codes ---------------------------------------------------------------------------------------------

    @rule(
        person=people, client=among(code_clients), scope=scopes, is_spent=st.sampled_from([True, True, False])
    )
    def sign_in(self, person, client, scope, is_spent):
        """A code as the consent page issues it: most come this way, because a page takes thirty times as
        long.
        """
        self.enable(person)
        code = self.new_code(person, client, scope)
        if is_spent:
            self.exchange(code)

    @rule(
        person=people,
        client=among(code_clients),
        max_sessions=st.sampled_from([1, 2, 3]),
        pauses=st.lists(st.sampled_from([0, 0, 1]), min_size=2, max_size=4),
    )
    def sign_in_on_devices(self, person, client, max_sessions, pauses):
        """One after the other, some in the same microsecond."""
        self.set_client(client, max_sessions, client.way)
        for pause in pauses:
            self.model.time += pause
            self.sign_in(person, client, model.ALL_SCOPES, is_spent=True)
            self.nothing_differs()

    def session_of(self, person, client):
        """The newest sign-in of the pair; where there is none it is made, so that few steps have nothing to
        work on.
        """
        if not any(map(self.model.may_be_refreshed, self.model.sessions(client, person)[:1])):
            self.sign_in(person, client, model.ALL_SCOPES, is_spent=True)
        return self.model.sessions(client, person)[0]

    def new_code(self, person, client, scope):
        text = credentials.new_authorization_code()
        session = self.model.newest_session(person) or self.begin_session(person)
        with self.app.app_context(), transaction():
            sid = store.client_sessions.find_or_make_sid(session.id, client.id, self.model.now)
        assert session.sids.setdefault(client, sid) == sid
        code = self.model.issue_code(client, session, scope, text)
        row = a_code(
            text,
            client_id=client.id,
            user_id=person.id,
            scope=words(scope),
            expires_at=code.expires_at,
            auth_time=session.auth_time,
            sid=sid,
            sealed_openid=encrypt({"acr": ACR_PASSWORD, "amr": ["pwd"]}, text),
        )
        self.store(row)
        return code

    def begin_session(self, person):
        """In a browser that nobody opens here: without the pages, but for that as `browser.sign_in`
        does it.
        """
        now = self.model.now
        with self.app.app_context(), transaction():
            store.users.lock(person.id)
            _older, surplus = store.user_sessions.find_older(person.id, None, now)
            if surplus:
                sessions.revoke_sessions(person.id, surplus)
            id = store.user_sessions.start(person.id, SignIn(credentials.random_text(), now, "pwd"))
        return self.model.begin_session(person, id)

    @rule(
        browser=browsers,
        person=people,
        client=among(code_clients),
        scope=scopes,
        prompt=prompts,
        decision=st.sampled_from(["Allow", "Allow", "Deny"]),
        is_spent=st.booleans(),
    )
    def ask_person(self, browser, person, client, scope, prompt, decision, is_spent):
        """Through the pages: sign-in, choice of an account, consent, as far as the request and who is here
        make them necessary.
        """
        http, asked = self.browsers[browser], model.Asked(browser, client, scope, prompt)
        page = steps.ask(http, client_id=client.id, scope=words(scope), prompt=prompt)
        while (step := self.model.next_step(asked)) in (LOGIN, CHOOSE):
            page = (
                self.sign_in_at(page, person, browser) if step == LOGIN else self.choose(page, person, asked)
            )
            if page is None:
                return
            asked.session, asked.is_proven = browser.sessions[0], asked.is_proven or step == LOGIN
            page = steps.follow(http, page)
        if step == CONSENT:
            session = asked.session or self.model.accounts(browser)[0]
            page = steps.press(http, page, decision)
            if decision == "Deny":
                step = "access_denied"
            else:
                self.model.allow(session.person, client, scope)
                step = session
        answer = steps.answer_to_client(page)
        error = step if isinstance(step, str) else None
        assert answer.get("error", [None]) == [error]
        if error is not None:
            return
        (text,) = answer["code"]
        code = self.learn_code(text, step, client, scope)
        if is_spent:
            self.exchange(code)

    @rule(
        browser=browsers,
        client=among(code_clients),
        scope=scopes,
        prompt=st.sampled_from([None, "none", "select_account"]),
        is_known_to=st.sampled_from(["one", "both"]),
    )
    def share_a_browser(self, browser, client, scope, prompt, is_known_to):
        """Two people signed in at once: the client knows one of them or both, and asks for somebody."""
        first, second = self.model.people
        self.enable(first)
        self.enable(second)
        self.ask_person(browser, first, client, scope, "login", "Allow", is_spent=False)
        http = self.browsers[browser]
        assert self.sign_in_at(http.get("/login"), second, browser).status_code == 303
        if is_known_to == "both":
            self.ask_person(browser, second, client, scope, None, "Allow", is_spent=False)
        self.ask_person(browser, second, client, scope, prompt, "Allow", is_spent=True)

    def sign_in_at(self, page, person, browser):
        """The answer to the form; None where the person is not let in."""
        page = steps.press(
            self.browsers[browser], page, "Sign in", email=email(person), password=steps.PASSWORD
        )
        assert page.status_code == (400 if person.is_disabled else 303)
        if person.is_disabled:
            return None
        older = self.model.account_of(person, browser) or self.model.session_of_device(person, browser)
        self.model.sign_in(person, browser, None if older else self.newest_session_id())
        return page

    def newest_session_id(self):
        with self.app.app_context():
            return db.session.scalar(select(func.max(models.UserSession.id)))

    def choose(self, page, person, asked):
        """This person's account, or the present one."""
        browser = asked.browser
        session = self.model.account_of(person, browser) or self.model.accounts(browser)[0]
        page = steps.press(self.browsers[browser], page, f"{session.person.name} {email(session.person)}")
        self.model.choose(browser, session)
        return page

    def learn_code(self, text, session, client, scope):
        """The client has a `sid` in this session, from now on if not before."""
        of_code = select(models.AuthorizationCode.sid).where(
            models.AuthorizationCode.code_digest == credentials.digest(text)
        )
        with self.app.app_context():
            sid = db.session.scalar(of_code)
        assert session.sids.setdefault(client, sid) == sid
        return self.model.issue_code(client, session, scope, text)

    # ---- the end of sessions -------------------------------------------------------------------------------

    @any_of(lambda world: any(map(world.accounts, world.browsers)))
    @rule(
        browser=among(lambda world: list(filter(world.accounts, world.browsers))), is_everybody=st.booleans()
    )
    def sign_out(self, browser, is_everybody):
        """At the sign-out page, which knows two buttons where two people are."""
        http, here = self.browsers[browser], self.model.accounts(browser)
        button = f"Sign out only {here[0].person.name}" if len(here) > 1 else "Sign out"
        if is_everybody and len(here) > 1:
            button = "Sign out everybody"
        assert steps.press(http, http.get("/logout"), button).status_code == 303
        self.model.sign_out(browser, here if is_everybody else here[:1])

    @any_of(Model.live_sessions)
    @rule(session=among(Model.live_sessions))
    def end_session(self, session):
        """From elsewhere, as the page of a person's sessions does it."""
        with self.app.app_context(), transaction():
            sessions.revoke_sessions(session.person.id, [session.id])
        self.model.end_session(session)

    def exchange(self, code, client=None, way=None, redirect_uri=REDIRECT_URI, code_verifier=VERIFIER):
        client = client or code.client
        way = way or client.way
        expected = self.model.exchange(
            client,
            way,
            code,
            redirect_uri_fits=redirect_uri in (REDIRECT_URI, None),
            verifier_fits=code_verifier == VERIFIER,
        )
        given = {"code": code.text, "redirect_uri": redirect_uri, "code_verifier": code_verifier}
        answer = self.post("/oauth/token", client, way, grant_type=CODE, **given)
        self.check_pair(answer, expected)
        if expected.access:
            self.learn_slot(code.family)

    def learn_slot(self, family):
        """Of several slots that became free the database takes which it likes, and keeps it."""
        digest = credentials.digest(family.access.text)
        with self.app.app_context():
            slot = db.session.scalar(
                select(models.Token.slot).where(models.Token.access_token_digest == digest)
            )
        assert slot in family.slots
        family.slots = {slot}

    @any_of(Model.spent_codes)
    @rule(
        code=among(Model.replayable_codes, Model.spent_codes),
        redirect_uri=st.sampled_from([REDIRECT_URI, None]),
    )
    def replay_code(self, code, redirect_uri):
        self.exchange(code, redirect_uri=redirect_uri)

    @rule(
        code=among(Model.pending_codes, Model.replayable_codes, all_codes), client=clients, mistake=mistakes
    )
    def exchange_somehow(self, code, client, mistake):
        if mistake == "client":
            self.exchange(code, client)
        else:
            self.exchange(code, **MISTAKES[mistake])

    @any_of(Model.pending_codes)
    @rule(code=among(Model.pending_codes), times=st.integers(2, model.FAILURES_THAT_BURN_A_CODE))
    def guess_verifier(self, code, times):
        for _ in range(times):
            self.exchange(code, code_verifier=OTHER_VERIFIER)

    # ---- refresh -------------------------------------------------------------------------------------------

    def refresh(self, token, client=None, way=None, scope=None):
        client = client or token.client
        way = way or client.way
        expected = self.model.refresh(client, way, token, scope)
        self.send_refresh(token.text, client, way, scope, expected)

    def send_refresh(self, text, client, way, scope, expected):
        asked = None if scope is None else words(scope)
        answer = self.post(
            "/oauth/token", client, way, grant_type="refresh_token", refresh_token=text, scope=asked
        )
        self.check_pair(answer, expected)

    @rule(person=people, client=among(refreshing_clients), scope=asked_scopes)
    def refresh_with_current(self, person, client, scope):
        self.refresh(self.session_of(person, client).current, scope=scope)

    @any_of(Model.repeatable_families)
    @rule(family=among(Model.repeatable_families), is_exact=st.booleans(), scope=asked_scopes)
    def repeat_refresh(self, family, is_exact, scope):
        """`is_exact`: with the scope that the lost answer had."""
        self.refresh(family.previous, scope=family.access.scope if is_exact else scope)

    @rule(
        person=people,
        client=among(refreshing_clients),
        scope=st.none() | scopes,
        early=uses,
        edge=edges,
        nudge=nudges,
        late=uses,
        way=st.sampled_from([None, None, None, BASIC, POST]),
    )
    def lose_an_answer(self, person, client, scope, early, edge, nudge, late, way):
        """A refresh whose answer somebody may have, who uses it or not, and a repeat at one side of a moment
        that matters.

        way: in which the client authenticates from the repeat on.
        """
        family = self.session_of(person, client)
        presented = family.current
        self.refresh(presented, scope=scope)
        self.use(family.access, early)
        self.wait_for_edge(family, edge, nudge)
        self.use(family.access, late)
        self.nothing_differs()
        if way is not None:
            self.set_client(client, client.max_sessions, way)
        self.refresh(presented, scope=scope)

    @rule(person=people, client=among(refreshing_clients), early=uses, nudge=nudges, late=uses)
    def lose_an_answer_for_the_leeway(self, person, client, early, nudge, late):
        self.lose_an_answer(person, client, None, early, "leeway", nudge, late, None)

    @rule(
        person=people,
        client=among(refreshing_clients),
        refreshes=st.integers(2, 3),
        generation=st.integers(0, 3),
        action=st.sampled_from(["refresh", "revoke", "introspect"]),
        nudge=nudges,
    )
    def present_an_ancestor(self, person, client, refreshes, generation, action, nudge):
        """Of a family that was refreshed a few times, at one side of the leeway's end: what is known stays a
        token of it.
        """
        family = self.session_of(person, client)
        generations = [family.current]
        for _ in range(refreshes):
            self.refresh(family.current)
            if family.is_ended:  # too late for the first of them
                return
            generations.append(family.current)
        self.wait_for_edge(family, "leeway", nudge)
        token = generations[generation % len(generations)]
        if action == "refresh":
            self.refresh(token)
        elif action == "revoke":
            self.revoke(token)
        else:
            self.introspect(token, client)

    @rule(
        token=among(ancestors, ancestors, all_refresh_tokens),
        client=some_client,
        way=ways,
        scope=asked_scopes,
    )
    def refresh_somehow(self, **given):
        """Any token that there ever was, by anybody."""
        self.refresh(**given)

    @rule(
        person=people,
        client=among(refreshing_clients),
        is_of_family=st.booleans(),
        path=st.sampled_from(["/oauth/token", "/oauth/revoke"]),
    )
    def forge(self, person, client, is_of_family, path):
        """A refresh token whose tag is wrong, with the family part of a real one or one that is made up: it
        does nothing.
        """
        text = forged(self.session_of(person, client).current.text if is_of_family else a_refresh_token())
        if path == "/oauth/revoke":
            check_status(self.post(path, client, client.way, token=text), model.OK)
        else:
            self.send_refresh(text, client, client.way, None, self.model.refresh(client, client.way, None))

    # ---- machines ------------------------------------------------------------------------------------------

    @rule(client=among(machines, machines, all_clients), way=ways, use=uses)
    def client_credentials(self, client, way, use):
        way = way or client.way
        expected = self.model.client_credentials(client, way)
        self.check_pair(self.post("/oauth/token", client, way, grant_type=MACHINE), expected)
        if expected.access:
            self.use(expected.access, use)

    # ---- use, introspection, revocation --------------------------------------------------------------------

    @rule(token=among(Model.live_access_tokens, Model.live_access_tokens, all_access_tokens), use=uses)
    def use_token(self, token, use):
        self.use(token, use)

    def use(self, token, use):
        """By way of `/api/me`, or of an introspection by somebody who may know."""
        if use in ("me", "userinfo"):
            self.ask_who(token, use)
        elif use == "resource server":
            self.introspect(token, self.model.resource_server)
        elif use == "own client":
            self.introspect(token, token.client)

    def ask_who(self, token, resource="me"):
        expected = self.model.use(token, frozenset({OPENID}) if resource == "userinfo" else frozenset())
        path = "/oauth/userinfo" if resource == "userinfo" else "/api/me"
        answer = self.http.get(path, headers={"Authorization": f"Bearer {token.text}"})
        check_status(answer, expected)
        if expected != model.OK:
            return
        assert answer.json["sub"] == token.family.person.name
        assert ("email" in answer.json) == ("email" in token.scope)
        if resource == "me":
            assert answer.json["client_id"] == token.client.id
            assert answer.json["scope"] == words(token.scope)

    def introspect(self, token, client, way=None):
        way = way or client.way
        expected, is_active = self.model.introspect(client, way, token)
        answer = self.post("/oauth/introspect", client, way, token=token.text)
        check_status(answer, expected)
        if expected.error:
            return
        if not is_active:
            assert answer.json == {"active": False}
            return
        assert answer.json["active"] is True
        assert answer.json["client_id"] == token.client.id
        assert answer.json["scope"] == words(token.scope)
        assert answer.json["exp"] == token.expires_at

    @rule(
        token=among(ancestors, Model.live_access_tokens, all_tokens), client=some_client | clients, way=ways
    )
    def introspect_somehow(self, token, client, way):
        self.introspect(token, client or token.client, way)

    def revoke(self, token, client=None, way=None):
        client = client or token.client
        way = way or client.way
        expected = self.model.revoke(client, way, token)
        check_status(self.post("/oauth/revoke", client, way, token=token.text), expected)

    @rule(
        token=among(ancestors, ancestors, Model.live_access_tokens, all_tokens), client=some_client, way=ways
    )
    def revoke_somehow(self, **given):
        self.revoke(**given)

    # ---- people and operators ------------------------------------------------------------------------------

    @rule(person=people, client=clients, action=st.sampled_from(["sign-out", "disable", "revoke"]))
    def operate(self, person, client, action):
        """`users sign-out`, `users disable`, `tokens revoke`, with the calls that the commands make; `enable`
        if disabled.
        """
        if person.is_disabled:
            self.enable(person)
            return
        with self.app.app_context(), transaction():
            store.users.lock(person.id)
            if action == "revoke":
                self.model.end_tokens(person, client)
                store.codes.delete_pending(person.id, client.id)
                store.tokens.revoke_of_user(person.id, client.id)
                return
            if action == "disable":
                self.model.disable(person)
                store.users.set_disabled(person.id, self.model.now)
            else:
                self.model.sign_out_everywhere(person)
            sessions.revoke_sessions(person.id)
            store.codes.delete_pending(user_id=person.id)
            store.tokens.revoke_of_user(person.id)

    def enable(self, person):
        """`users enable`."""
        self.model.enable(person)
        with self.app.app_context(), transaction():
            store.users.set_disabled(person.id, None)

    @rule(
        client=among(code_clients),
        max_sessions=st.sampled_from([1, 2, 3]),
        way=st.sampled_from([BASIC, POST]),
    )
    def set_client(self, client, max_sessions, way):
        """`clients set --max-sessions … --auth-method …`: a public client stays one."""
        client.max_sessions = max_sessions
        client.way = NONE if client.way == NONE else way
        columns = {"max_sessions": max_sessions, "token_endpoint_auth_method": client.way}
        with self.app.app_context(), transaction():
            db.session.execute(
                update(models.Client).where(models.Client.client_id == client.id).values(columns)
            )
        state_of(self.app).client_cache.clear()

    # ---- time ----------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 1, 1, 4, 4, 10, 10, 61, 61, 600, HOUR, DAY, 31 * DAY]))
    def wait(self, seconds):
        self.model.time += seconds * MICROSECONDS

    @any_of(Model.live_families)
    @rule(family=among(Model.live_families), edge=edges, nudge=nudges)
    def wait_for_edge(self, family, edge, nudge):
        """To the very microsecond in which something ends for a family, or to one beside it."""
        self.model.time = max(self.model.time, self.model.edge(family, edge) + nudge)

    @rule(
        person=people,
        client=among(refreshing_clients),
        pause=st.sampled_from([0, 11, 1000]),
        edge=st.sampled_from(["code", "access", "refresh", "family"]),
        nudge=nudges,
    )
    def come_at_the_end(self, person, client, pause, edge, nudge):
        """With what is about to end, or has just ended."""
        family = self.session_of(person, client)
        self.wait(pause)
        self.refresh(family.current)
        if edge == "code":
            self.enable(person)
            code = self.new_code(person, client, model.ALL_SCOPES)
            self.model.time = code.expires_at * MICROSECONDS + nudge
            self.exchange(code)
        elif edge == "access":
            self.wait_for_edge(family, edge, nudge)
            self.use(family.access, "me")
        else:
            self.wait_for_edge(family, edge, nudge)
            self.refresh(family.current)

    # ---- after every step ----------------------------------------------------------------------------------

    @invariant()
    def nothing_differs(self):
        with self.app.app_context():
            self.tokens_are_those_of_the_model()
            self.codes_are_spent_or_there()
            self.sessions_are_those_of_the_model()
        assert self.log == []  # no race was lost and no bug met: one request at a time has no rival

    def tokens_are_those_of_the_model(self):
        rows = db.session.execute(TOKEN_ROWS).all()
        assert sorted(map(seen_row, rows)) == sorted(self.predicted_rows())

    def predicted_rows(self):
        for family in self.model.live_families():
            (slot,) = family.slots
            is_used = family.access.is_used or family.is_presented
            is_sealed = family.sealed_way is not None
            family_part = (
                family.person.id,
                slot,
                digest_of(family.current),
                is_sealed,
                family.code.auth_time,
                family.code.sid,
            )
            yield (*predicted_row(family.access), is_used, *family_part)
        for token in self.model.machine_tokens:
            yield (*predicted_row(token), token.is_used, 0, -1, "", False, 0, "")

    def codes_are_spent_or_there(self):
        there = set(db.session.scalars(CODE_ROWS))
        for code in self.model.codes:
            if code in self.model.pending_codes():
                assert credentials.digest(code.text) in there
            elif code.family or code.is_ended:
                assert credentials.digest(code.text) not in there

    def sessions_are_those_of_the_model(self):
        rows = db.session.execute(SESSION_ROWS).all()
        there = [session for session in self.model.browser_sessions if not session.is_ended]
        for session, row in zip(there, rows, strict=True):
            is_seen = row.expires_at == self.model.now + model.BROWSER_SESSION_SECONDS
            if is_seen and session.ends_at > self.model.now >= session.last_seen_at + 3600:
                # `tests/pages/test_keep.py` has which requests are a use
                session.last_seen_at = self.model.now
        assert rows == [
            (session.id, session.person.id, session.auth_time, session.ends_at) for session in there
        ]
        assert db.session.scalar(COUNT_NOTICES) == self.model.notices


def settings_for(lifetimes):
    return Settings(
        issuer=ISSUER,
        database_url="sqlite://",
        secret_key=SECRET_KEY,
        signing_key_lifetime=100 * 365 * DAY,
        refresh_leeway=lifetimes.refresh_leeway,
        public_refresh_leeway=lifetimes.public_refresh_leeway,
        refresh_retry_lifetime=lifetimes.refresh_retry_lifetime,
        access_token_lifetime=lifetimes.access_token_lifetime,
        authorization_code_lifetime=lifetimes.authorization_code_lifetime,
        refresh_token_idle_lifetime=lifetimes.refresh_token_idle_lifetime,
        refresh_token_lifetime=lifetimes.refresh_token_lifetime,
        failed_client_authentications_per_client=MANY,
        failed_client_authentications_per_address=MANY,
        failed_sign_ins_per_account_and_address=MANY,
        failed_sign_ins_per_account=MANY,
        failed_sign_ins_per_address=MANY,
    )


def email(person):
    return f"{person.name}@example.com"


def person_row(person):
    return a_user(
        id=person.id, sub=person.name, name=person.name, email=email(person), password_hash=cheap_hash()
    )


def client_row(client):
    row = a_client(
        client_id=client.id,
        token_endpoint_auth_method=client.way,
        grant_types=list(client.grants),
        rotate_refresh_tokens=client.rotates,
        max_sessions=client.max_sessions,
        is_resource_server=client.is_resource_server,
        scope="read" if client.id == "robot" else words(model.ALL_SCOPES),
        extra_metadata=extra_metadata(client),
    )
    if client.way == NONE:
        row.client_secret_digest = None
    return row


def extra_metadata(client):
    members = {"id_token_signed_response_alg": "ES256"}
    if client.has_jwts:
        members["access_token_format"] = "jwt"
    if client.is_told:
        members["backchannel_logout_uri"] = "https://app.example/logged-out"
    return members


def check_status(answer, expected):
    assert (answer.status_code, (answer.json or {}).get("error")) == (expected.status, expected.error)


def forged(text):
    """Another last character, which belongs to the tag."""
    return text[:-1] + ("A" if text[-1] != "A" else "Q")


TOKEN_ROWS = select(
    models.Token.client_id,
    models.Token.access_token_digest,
    models.Token.access_token_expires_at,
    models.Token.issued_at,
    models.Token.used_at,
    models.Token.user_id,
    models.Token.slot,
    models.Token.refresh_token_digest,
    models.Token.sealed_pair,
    models.Token.auth_time,
    models.Token.sid,
)
CODE_ROWS = select(models.AuthorizationCode.code_digest)
COUNT_NOTICES = select(func.count()).select_from(models.LogoutNotice)
SESSION_ROWS = select(
    models.UserSession.id,
    models.UserSession.user_id,
    models.UserSession.auth_time,
    models.UserSession.expires_at,
).order_by(models.UserSession.id)


def seen_row(row):
    """The row of a token, in an order in which rows can be sorted."""
    return (
        row.client_id,
        row.access_token_digest.hex(),
        row.access_token_expires_at,
        row.issued_at,
        row.used_at is not None,
        row.user_id or 0,
        -1 if row.slot is None else row.slot,
        "" if row.refresh_token_digest is None else row.refresh_token_digest.hex(),
        row.sealed_pair is not None,
        row.auth_time or 0,
        row.sid or "",
    )


def predicted_row(token):
    return token.client.id, digest_of(token), token.expires_at, token.issued_at


def digest_of(token):
    return "" if token is None else credentials.digest(token.text).hex()


# ---- short, long, and against broken copies ----------------------------------------------------------------

# No deadline: the first request of an app is slower than the others. No example database: a failure prints
# its steps. The suppressed check is about the time that it takes to choose steps, which is long on a busy
# machine.
COMMON = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
SHORT = settings(COMMON, max_examples=8, stateful_step_count=40)
LONG = settings(COMMON, max_examples=25, stateful_step_count=60)
SECONDS_TO_SHRINK = 420  # a failure is made small before it is shown, for up to five minutes

# Each with a seed of its own: Hypothesis makes most runs out of others, so a few small starts see more than
# one large one.
STARTS = list(enumerate(model.LIFETIMES))
IN_EVERY_RUN = (1, 2)  # the usual lifetimes, and no leeway at all; the other worlds are long
in_each_world = pytest.mark.parametrize("number, lifetimes", STARTS, ids=repr)


@pytest.fixture(scope="module", autouse=True)
def home_of_hypothesis(tmp_path_factory):
    """It keeps tables somewhere: not in the project's folder."""
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


def find_difference(how, number, lifetimes):
    """Raises what the first difference raises.

    One app for all runs: a new one would compile its statements each time.
    """
    app = create_app(settings_for(lifetimes))
    app.test_client_class = Browser
    try:
        keys = make_keys(app)
        run_state_machine_as_test(seed(number)(lambda: Machine(app, lifetimes, keys)), settings=how)
    finally:
        with app.app_context():
            db.engine.dispose()


def make_keys(app):
    """Tables, and the keys that the server signs with, made once: they take long."""
    with app.app_context(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: model.START // MICROSECONDS)
        db.create_all()
        published = state_of(app).home.keyring.jwks()["keys"]
        db.session.commit()
    return KeySet.import_key_set({"keys": [key for key in published if key["alg"] == "ES256"]})


@pytest.mark.timeout(SECONDS_TO_SHRINK)
@pytest.mark.parametrize(
    "number, lifetimes",
    [pytest.param(*start, marks=() if start[0] in IN_EVERY_RUN else pytest.mark.long) for start in STARTS],
    ids=repr,
)
def test_no_difference_from_the_model(number, lifetimes):
    find_difference(SHORT, number, lifetimes)


@pytest.mark.long
@pytest.mark.timeout(SECONDS_TO_SHRINK)
@in_each_world
def test_no_difference_from_the_model_in_many_more_steps(number, lifetimes):
    number = int(os.environ.get("TEST_SEED") or secrets.randbelow(2**32))
    print(f"TEST_SEED={number}")
    find_difference(LONG, number, lifetimes)


BROKEN = {
    "nothing": [],
    "repeat although used": [
        mutations.Replacement("protocol/refresh.py", " and family.used_at is None", ""),
    ],
    "theft without penalty": mutations.THEFT_WITHOUT_PENALTY,
    "first use not noted": mutations.FIRST_USE_NOT_NOTED,
    "tokens outlive their session": [
        mutations.Replacement(
            "services/sessions.py", "tokens = store.tokens.revoke_of_sids(user_id, sids)", "tokens = 0"
        ),
    ],
    "codes outlive their session": [
        mutations.Replacement(
            "services/sessions.py", "codes = store.codes.delete_of_sids(user_id, sids)", "codes = 0"
        ),
    ],
    "offline access ends with the session": [
        mutations.Replacement(
            "store/tokens.py", '        not_(words.contains(f" {OFFLINE_ACCESS} ", autoescape=True)),\n', ""
        ),
    ],
    "what needs no session ends with it": [
        mutations.Replacement("store/tokens.py", '        words.contains(f" {OPENID} "),\n', ""),
    ],
    "JWTs repeated after the leeway": [
        mutations.Replacement(
            "protocol/refresh.py",
            "if client.is_public or client.has_jwt_access_tokens:",
            "if client.is_public:",
        ),
    ],
    "repeated after the leeway by whoever asks": [
        mutations.Replacement(
            "protocol/refresh.py",
            "if client.is_public or client.has_jwt_access_tokens:",
            "if client.has_jwt_access_tokens:",
        ),
    ],
    "one leeway for all": [
        mutations.Replacement(
            "protocol/refresh.py", "settings.public_refresh_leeway if is_public else settings", "settings"
        ),
    ],
    "sign-in of the refresh, not of the person": [
        mutations.Replacement("my_oauth.py", '    "auth_time",\n', ""),
    ],
    "sign-in not asked for again": [
        mutations.Replacement(
            "authorization/interaction.py", 'return "login" in self.request.prompt or ', "return "
        ),
    ],
    "present account taken without a word": [
        mutations.Replacement(
            "authorization/interaction.py", "or (is_ambiguous and self.request.may_ask)", ""
        ),
    ],
    "somebody taken where nobody may be asked": [
        mutations.Replacement(
            "authorization/interaction.py",
            "if len(here) > 1 and not self.request.may_ask:",
            "if len(here) > 2:",
        ),
    ],
    "one session too many": [
        mutations.Replacement("my_oauth.py", "settings.max_sessions) - 1", "settings.max_sessions)"),
    ],
}


@pytest.mark.long
@pytest.mark.timeout(SECONDS_TO_SHRINK)
@pytest.mark.parametrize("replacements", BROKEN.values(), ids=BROKEN.keys())
def test_the_short_form_notices(replacements, tmp_path):
    """In a changed copy of the project, where this file is the program (see its last lines).

    One that is whole passes.
    """
    copy = mutations.mutated_copy(replacements, tmp_path / "copy")
    shutil.copytree(PROJECT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "tests.generated.test_machine"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=SECONDS_TO_SHRINK)
    assert ("AssertionError" in done.stderr, done.returncode) == ((True, 1) if replacements else (False, 0))


if __name__ == "__main__":
    for start in STARTS:
        find_difference(settings(SHORT, phases=[Phase.generate]), *start)
