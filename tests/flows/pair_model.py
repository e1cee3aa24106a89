"""What a user has at a client, in the model of `tests/generated`, and what each request makes of it.

Two that run at the same moment must leave what they would leave one after the other, in one order or the
other: that is all that is asked of any pair of them (`tests/flows/test_meetings.py`).
"""

import copy
from typing import NamedTuple

from tests.generated.model import BASIC, CODE, MACHINE, OPENID, REFRESH, USUAL, Client, Model

# Families, by the sign-ins that they come from. A refresh renews the pair, and the family is the newest from
# then on.
PHONE = "phone"  # of another session, the older
LAPTOP = "laptop"  # of this browser's session
TABLET = "tablet"  # what the pending code becomes; of this browser's session too
RENEWED = "+"
PENDING = "pending"  # a code that waits to be spent
MINTED = "minted"  # the code that a consent makes
DONE, REFUSED = "done", "refused"
SCOPE = frozenset({OPENID, "profile"})


class State(NamedTuple):
    """families: the oldest first. session: "here" as long as this browser's cookie is good for it,
    "elsewhere", or "gone".
    """

    families: tuple[str, ...]
    codes: frozenset[str]
    is_ticket_open: bool
    is_consented: bool
    session: str
    person: str
    is_client: bool
    max_sessions: int | None
    machine_tokens: int


class Pair:
    """A user and a client before anybody acts. Each act changes it and says whether it was DONE or REFUSED.

    luck: which of two things happens, where either may.
    """

    def __init__(self):
        self.luck = False
        self.model = model = Model(USUAL)
        self.user, self.user_state, self.has_first_password = model.people[0], "enabled", True
        self.client = Client("web", grants=(CODE, REFRESH, MACHINE), max_sessions=2)
        self.is_client = self.is_ticket_open = True
        self.browser, other_browser = model.browsers
        elsewhere = model.sign_in(self.user, other_browser, 1)
        self.session, self.has_cookie = model.sign_in(self.user, self.browser, 2), True
        self.phone, self.laptop = self.code(elsewhere), self.code(self.session)
        self.presented = [self.ask(model.exchange, code).refresh for code in (self.phone, self.laptop)][1]
        self.pending, self.minted = self.code(self.session), None
        model.allow(self.user, self.client, SCOPE)

    def code(self, session):
        return self.model.issue_code(self.client, session, SCOPE, "")

    def ask(self, request, *arguments):
        return request(self.client, BASIC, *arguments)

    def request(self, request, *arguments):
        """A request of the client's to the model."""
        return DONE if self.is_client and self.ask(request, *arguments).status == 200 else REFUSED

    def session_state(self):
        if self.session.is_ended:
            return "gone"
        return "here" if self.has_cookie else "elsewhere"

    def state(self):
        names = {self.phone: PHONE, self.laptop: LAPTOP, self.pending: TABLET}
        pending = self.model.pending_codes()
        return State(
            families=tuple(
                names[family.code] + (RENEWED if family.previous else "")
                for family in reversed(self.model.sessions(self.client, self.user))
            ),
            codes=frozenset(
                name for name, code in ((PENDING, self.pending), (MINTED, self.minted)) if code in pending
            ),
            is_ticket_open=self.is_ticket_open,
            is_consented=(self.user, self.client) in self.model.consents,
            session=self.session_state(),
            person=self.user_state,
            is_client=self.is_client,
            max_sessions=self.client.max_sessions if self.is_client else None,
            machine_tokens=len(self.model.machine_tokens),
        )

    # ---- acts ----------------------------------------------------------------------------------------------

    def spend_code(self):
        return self.request(self.model.exchange, self.pending)

    def refresh(self):
        return self.request(self.model.refresh, self.presented)

    def replay_code(self):
        """The code that the laptop signed in with comes again."""
        return self.request(self.model.exchange, self.laptop)

    def revoke(self):
        return self.request(self.model.revoke, self.presented)

    def machine(self):
        return self.request(self.model.client_credentials)

    def allow(self):
        if self.session_state() != "here" or not self.is_ticket_open or not self.is_client:
            return REFUSED
        self.is_ticket_open, self.minted = False, self.code(self.session)
        self.model.allow(self.user, self.client, SCOPE)
        return DONE

    def withdraw(self):
        if self.session_state() != "here" or not self.model.consents.pop((self.user, self.client), None):
            return REFUSED
        self.model.end_tokens(self.user, self.client)
        return DONE

    def sign_out(self):
        """Says that it is done in any case.

        Of a session whose password was changed meanwhile it may find the old cookie or not.
        """
        if self.session_state() == "here" or (self.session_state() == "elsewhere" and self.luck):
            self.model.sign_out(self.browser, [self.session])
        return DONE

    def change_password(self):
        """By the user, who goes on under a new cookie, while everything of other sessions ends.

        Where this session has ended meanwhile they are signed in anew: they have proven both passwords.
        """
        is_signed_in_anew = self.session_state() == "gone" and self.user_state == "enabled"
        is_done = is_signed_in_anew and self.has_first_password and self.luck
        if self.session_state() != "here" and not is_done:
            return REFUSED
        self.session.is_ended = self.has_cookie = self.has_first_password = False
        for credential in [*self.model.pending_codes(), *self.model.live_families()]:
            is_code = credential in self.model.codes
            credential.is_ended = is_code or credential.code.session is not self.session
        return DONE

    def set_password(self):
        """By an operator."""
        if self.user_state == "removed":
            return REFUSED
        self.has_first_password = False
        self.model.sign_out_everywhere(self.user)
        return DONE

    def disable(self):
        if self.user_state == "removed":
            return REFUSED
        self.user_state = "disabled"
        self.model.disable(self.user)
        return DONE

    def remove_person(self):
        if self.disable() == REFUSED:
            return REFUSED
        self.user_state = "removed"
        self.model.consents.clear()
        return DONE

    def remove_client(self):
        if not self.is_client:
            return REFUSED
        self.is_client = self.is_ticket_open = False
        self.model.consents.clear()
        self.model.end_tokens(client=self.client)
        return DONE

    def lower_max_sessions(self):
        """Counts from the next sign-in on: what is there stays."""
        self.client.max_sessions = 1
        return DONE if self.is_client else REFUSED


def in_order(first, second):
    """What may come of both: the outcome of the first, that of the second, and the state."""
    for outcome, between in results(first, Pair()):
        for other, end in results(second, between):
            yield outcome, other, end.state()


def results(act, before):
    for luck in (False, True):
        after = copy.deepcopy(before)
        after.luck = luck
        yield act(after), after
