"""Two actors at the same moment: what came out must be what comes out of one after the other, in one order or
the other.

Enters: a driver of a server, and a pair of actors. Leaves: an AssertionError that says what was left and what
might have been.
"""

import itertools
import random
import secrets
from contextlib import contextmanager
from typing import NamedTuple

from testing.races.workers import Call
from tests.flows.actors import ACTORS, Stand
from tests.flows.driving import Driver
from tests.flows.pair_model import State, in_order
from tests.flows.races import without_trouble
from unit_of_work import transaction

STANDS = 4  # at once: as many pairs as a server of two processes has threads for both
# either begins earlier by so much at most: which moment is the worst depends on the machine
SPREAD_SECONDS = 0.01
# What a removal takes away under a request's hands: the request is run again, and sees it.
GONE_MEANWHILE = r"lost a race.*(?:FOREIGNKEY|23503|\b1452\b)"
# MariaDB looks at what a row refers to when the row is in: who inserts a token without a lock on its client,
# as machines do, and who removes the client wait for each other then, and one is run again.
CLIENT_GONE_MEANWHILE = rf"{GONE_MEANWHILE}|lost a race.*OperationalError 1213"

# Stands of all pairs act from one address, and some passwords and clients of theirs are gone by then.
PATIENT = {
    "failed_sign_ins_per_address": 1_000_000,
    "failed_client_authentications_per_address": 1_000_000,
    "password_hashes": 16,
}
PAIRS = [
    (first, second)
    for first, second in itertools.combinations_with_replacement(ACTORS, 2)
    if first.touches & second.touches
]


def name_of(pair):
    return " meets ".join(actor.name for actor in pair)


class Outcome(NamedTuple):
    first: str
    second: str
    state: State


def expected(first, second):
    """Everything that may come out of both.

    What an end says is left out: two may both have found what they ended.
    """
    orders = [Outcome(*results) for results in in_order(first.effect, second.effect)]
    orders += [Outcome(b, a, state) for a, b, state in in_order(second.effect, first.effect)]
    return {without_words(outcome, first, second) for outcome in orders}


def without_words(outcome, first, second):
    said = ("" if actor.is_end else word for actor, word in zip((first, second), outcome[:2], strict=True))
    return Outcome(*said, outcome.state)


@contextmanager
def driver_for(server):
    """A driver of a server that has its signing keys and a first token: making them is no part of any
    meeting.

    Those who are the first to insert after MariaDB has opened a table hear at once that there is no next id,
    and begin again.
    """
    with Driver(server) as driver:
        driver.send(Call("GET", "/oauth/jwks"))
        driver.sign_in(driver.client(), driver.new_users(1)[0])
        yield driver


def meet(driver, pair, rounds, tolerated=None):
    """`pair` meets on `rounds` times STANDS stands, in one order of arrival or the other, or nearly at once.

    tolerated: a pattern of lines that the log may have.
    """
    if tolerated is None:
        tolerated = CLIENT_GONE_MEANWHILE if "remove_client" in name_of(pair) else GONE_MEANWHILE
    possible = expected(*pair)
    with without_trouble(driver.server, tolerated):
        for _ in range(rounds):
            stands = build(driver)
            answers = driver.meet(list(actions(stands, pair)))
            for stand, first, second in zip(stands, answers[::2], answers[1::2], strict=True):
                seen = without_words(Outcome(first, second, stand.state()), *pair)
                assert seen in possible, f"{name_of(pair)}: {seen} is none of {possible}"


def build(driver):
    first_id = secrets.randbelow(2**40) + 2**20
    stands = [Stand(driver, first_id + number) for number in range(STANDS)]
    with driver.app.app_context(), transaction():
        for stand in stands:
            stand.store()
    return stands


def actions(stands, pair):
    """What both do at each stand; who takes longer to its first lock begins earlier."""
    first, second = pair
    for stand in stands:
        ahead = (first.seconds - second.seconds) * random.uniform(0.5, 2)  # noqa: S311 - no secret
        ahead += random.uniform(-SPREAD_SECONDS, SPREAD_SECONDS)  # noqa: S311
        yield stand.action(first, max(-ahead, 0))
        yield stand.action(second, max(ahead, 0))
