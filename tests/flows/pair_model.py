"""What a person has at a client, as a small model: a state, and what each request or command makes of it when
it is alone.

Two that run at the same moment must leave what they would leave one after the other, in one order or the
other: that is all that is asked of any pair of them (`tests/flows/test_meetings.py`). The rules are those of
the documents, told a second time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

# Families, by the sign-ins that they come from. A refresh renews the pair, and the family is the newest from
# then on.
PHONE = "phone"  # of another session, the older
LAPTOP = "laptop"  # of this browser's session
TABLET = "tablet"  # what the pending code becomes; of this browser's session too
RENEWED = "+"
PENDING = "pending"  # a code that waits to be spent
MINTED = "minted"  # the code that a consent makes
DONE, REFUSED = "done", "refused"


@dataclass(frozen=True)
class State:
    """families: the oldest first. session: "here" as long as this browser's cookie is good for it,
    "elsewhere", or "gone".
    """

    families: tuple[str, ...] = (PHONE, LAPTOP)
    codes: frozenset[str] = frozenset({PENDING})
    is_ticket_open: bool = True
    is_consented: bool = True
    session: str = "here"
    person: str = "enabled"
    has_first_password: bool = True  # not looked at afterwards, as is_code_spent: others tell
    is_client: bool = True
    max_sessions: int | None = 2
    machine_tokens: int = 0
    is_code_spent: bool = False

    def is_served(self):
        return self.is_client and self.person == "enabled"

    def without(self, *families):
        """Ended, whether they were refreshed or not."""
        gone = {*families, *(family + RENEWED for family in families)}
        return replace(self, families=tuple(family for family in self.families if family not in gone))

    def signed_out(self, **changed):
        """Of everything: sessions, codes, tokens."""
        return replace(self, families=(), codes=frozenset(), session="gone", **changed)


Results = Iterable[tuple[str, State]]  # what may come out: the outcome and the state after it


def spend_code(state: State) -> Results:
    if not state.is_served() or PENDING not in state.codes:
        is_replay = state.is_code_spent and state.is_client
        return [(REFUSED, state.without(TABLET) if is_replay else state)]
    kept = state.families[max(len(state.families) - state.max_sessions + 1, 0) :]
    codes = state.codes - {PENDING}
    return [(DONE, replace(state, families=(*kept, TABLET), codes=codes, is_code_spent=True))]


def refresh(state: State) -> Results:
    if state.is_served() and LAPTOP + RENEWED in state.families:  # a repeat: the same pair again
        return [(DONE, state)]
    if not state.is_served() or LAPTOP not in state.families:
        return [(REFUSED, state)]
    others = tuple(family for family in state.families if family != LAPTOP)
    return [(DONE, replace(state, families=(*others, LAPTOP + RENEWED)))]


def replay_code(state: State) -> Results:
    """The code that the laptop signed in with comes again."""
    return [(REFUSED, state.without(LAPTOP) if state.is_client else state)]


def revoke(state: State) -> Results:
    return [(DONE, state.without(LAPTOP))] if state.is_client else [(REFUSED, state)]


def machine(state: State) -> Results:
    if not state.is_client:
        return [(REFUSED, state)]
    return [(DONE, replace(state, machine_tokens=state.machine_tokens + 1))]


def allow(state: State) -> Results:
    if state.session != "here" or not state.is_ticket_open or not state.is_client:
        return [(REFUSED, state)]
    return [(DONE, replace(state, is_ticket_open=False, is_consented=True, codes=state.codes | {MINTED}))]


def withdraw(state: State) -> Results:
    if state.session != "here" or not state.is_consented:
        return [(REFUSED, state)]
    return [(DONE, replace(state, is_consented=False, families=(), codes=frozenset()))]


def sign_out(state: State) -> Results:
    """Says that it is done in any case.

    Of a session whose password was changed meanwhile it may find the old cookie or not.
    """
    ended = replace(state.without(LAPTOP, TABLET), codes=frozenset(), session="gone")
    if state.session == "here":
        return [(DONE, ended)]
    return [(DONE, state), (DONE, ended)] if state.session == "elsewhere" else [(DONE, state)]


def change_password(state: State) -> Results:
    """By the person, who goes on under a new cookie, while everything of other sessions ends.

    Where this session has ended meanwhile they are signed in anew: they have proven both passwords.
    """
    changed = replace(state.without(PHONE), codes=frozenset(), session="elsewhere", has_first_password=False)
    if state.session == "here":
        return [(DONE, changed)]
    if state.session == "gone" and state.person == "enabled" and state.has_first_password:
        return [(REFUSED, state), (DONE, changed)]
    return [(REFUSED, state)]


def set_password(state: State) -> Results:
    """By an operator."""
    return [
        (REFUSED, state) if state.person == "removed" else (DONE, state.signed_out(has_first_password=False))
    ]


def disable(state: State) -> Results:
    return [(REFUSED, state) if state.person == "removed" else (DONE, state.signed_out(person="disabled"))]


def remove_person(state: State) -> Results:
    if state.person == "removed":
        return [(REFUSED, state)]
    return [(DONE, state.signed_out(person="removed", is_consented=False))]


def remove_client(state: State) -> Results:
    if not state.is_client:
        return [(REFUSED, state)]
    gone = {"is_ticket_open": False, "is_consented": False, "is_client": False, "max_sessions": None}
    return [(DONE, replace(state, families=(), codes=frozenset(), machine_tokens=0, **gone))]


def lower_max_sessions(state: State) -> Results:
    """Counts from the next sign-in on: what is there stays."""
    return [(DONE, replace(state, max_sessions=1)) if state.is_client else (REFUSED, state)]


def in_order(first: Callable, second: Callable, start: State):
    """What may come of both: the outcome of the first, that of the second, and the state."""
    for outcome, between in first(start):
        for other, end in second(between):
            yield outcome, other, end
