"""The scenes: each brings requests to the same moment and looks at what is left. A broken promise raises
BrokenPromiseError.

`SCENES` is the list of them all. What each promises is in `docs/adr/` and, against attackers, in
`docs/threat-model.md`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from crypto import credentials
from testing.races.testbed import Pair, Testbed, check, code_in, pair_of
from testing.races.workers import Answer, Call

# By how many seconds a refresh begins before the end of its family: as many families, each of another user.
LEADS = (-0.002, -0.001, 0, 0.001)


# ---- what must hold afterwards -----------------------------------------------------------------------------


def check_live(stage: Testbed, client_id: str, user_id: int | None, access_tokens: Sequence[str]) -> None:
    """Check that these access tokens work, and that this user has no other token at this client."""
    stored = stage.token_digests(client_id, user_id)
    wanted = {credentials.digest(token) for token in access_tokens}
    check(
        sorted(stored) == sorted(wanted),
        f"{len(stored)} stored tokens, and not just the {len(wanted)} that should live",
    )
    check(all(map(stage.is_live, access_tokens)), "an access token that is stored does not work")


def check_dead(stage: Testbed, client_id: str, user_id: int, pairs: Sequence[Pair]) -> None:
    """None of these pairs is worth anything, and nothing is stored for this person at this client."""
    stored = stage.token_digests(client_id, user_id)
    check(not stored, f"{len(stored)} stored tokens outlived the end of their family")
    for pair in pairs:
        check(not stage.is_live(pair.access_token), "an access token outlived its family")
        answer = stage.send(stage.refresh(client_id, pair.refresh_token))
        check(answer.error == "invalid_grant", "a refresh token outlived its family")


def check_granted(answers: Sequence[Answer]) -> None:
    refused = [answer for answer in answers if answer.status != 200]
    check(not refused, f"{len(refused)} of {len(answers)} were refused")


def check_refused(answers: Sequence[Answer]) -> None:
    """All of them with the one answer for a grant that is worth nothing (RFC 6749 §5.2)."""
    kinds = {(answer.status, answer.error) for answer in answers} - {(400, "invalid_grant")}
    check(not kinds, f"instead of refusals: {sorted(kinds)}")


# ---- the scenes --------------------------------------------------------------------------------------------


def one_code(stage: Testbed) -> None:
    """One sender gets tokens; to all others the code was used before, and that ends what it became (RFC 6749
    §4.1.2).
    """
    client_id, user_id = stage.client(), stage.person()
    answers = stage.at_once([stage.exchange(client_id, stage.code(client_id, user_id))] * stage.crowd.size)
    winners = [answer for answer in answers if answer.status == 200]
    check(len(winners) == 1, f"one code, {len(winners)} winners")
    check_refused([answer for answer in answers if answer.status != 200])
    check_dead(stage, client_id, user_id, [pair_of(winners[0])])


def one_refresh_token(stage: Testbed) -> None:
    """All senders get one and the same pair, and it works: its access token, then its refresh token.

    In strict mode one gets it, and the repeats are thefts.
    """
    client_id, user_id = stage.client(), stage.person()
    presented = stage.sign_in(client_id, user_id).refresh_token
    answers = stage.at_once([stage.refresh(client_id, presented)] * stage.crowd.size)
    pair = the_one_pair([answer for answer in answers if answer.status == 200])
    if stage.settings.refresh_leeway or stage.settings.refresh_retry_lifetime:
        check_granted(answers)
        check(pair.refresh_token != presented, "a refresh token was not replaced")
        check_live(stage, client_id, user_id, [pair.access_token])
        renewed = stage.pair(stage.refresh(client_id, pair.refresh_token))
        check_live(stage, client_id, user_id, [renewed.access_token])
    else:
        check([answer.status for answer in answers].count(200) == 1, "more than one was served")
        check_refused([answer for answer in answers if answer.status != 200])
        check_dead(stage, client_id, user_id, [pair])


def the_one_pair(answers: Sequence[Answer]) -> Pair:
    """Return the pair that all these answers have, which grant it."""
    check_granted(answers)
    pairs = {pair_of(answer) for answer in answers}
    check(len(pairs) == 1, f"{len(pairs)} pairs for one refresh token")
    return pairs.pop()


def sign_ins(stage: Testbed, max_sessions: int) -> None:
    """All succeed and as many as are allowed stay, both where the person had no token and where every slot
    was taken.
    """
    client_id, user_id = stage.client(max_sessions=max_sessions), stage.person()
    for _ in range(2):
        codes = stage.codes(client_id, [user_id] * stage.crowd.handful)
        answers = stage.at_once([stage.exchange(client_id, code) for code in codes])
        check_granted(answers)
        issued = [pair_of(answer).access_token for answer in answers]
        live = [token for token in issued if stage.is_live(token)]
        check(len(live) == max_sessions, f"{len(live)} live tokens where {max_sessions} are allowed")
        check_live(stage, client_id, user_id, live)


def sign_ins_for_one_session(stage: Testbed) -> None:
    sign_ins(stage, 1)


def sign_ins_for_three_sessions(stage: Testbed) -> None:
    sign_ins(stage, 3)


Offence = Callable[[Testbed, str, int], tuple[Call, Pair]]


def ends_against_refreshes(
    stage: Testbed,
    client_id: str,
    offend: Offence,
    check_ended: Callable[[Sequence[Answer]], None],
) -> None:
    """Families are ended while they are refreshed: they are dead in the end, whichever was first.

    `offend(stage, client_id, user_id)` gives the call that ends a family, and the family's current pair;
    `check_ended` is for the answers to those calls.
    """
    user_ids = stage.people(len(LEADS))
    offences = [offend(stage, client_id, user_id) for user_id in user_ids]
    calls = []
    for lead, (offence, pair) in zip(LEADS, offences, strict=True):
        rival = stage.refresh(client_id, pair.refresh_token)
        calls += [offence.later(max(lead, 0)), rival.later(max(-lead, 0))]
    answers = stage.at_once(calls)
    check_ended(answers[::2])
    for user_id, (_, pair), answer in zip(user_ids, offences, answers[1::2], strict=True):
        check_dead(stage, client_id, user_id, [pair, *granted_or_refused(answer)])


def granted_or_refused(answer: Answer) -> list[Pair]:
    """Return the pair of a refresh that was fast enough; of one that was not, nothing."""
    if answer.status == 200:
        return [pair_of(answer)]
    check_refused([answer])
    return []


def revocations_against_refreshes(stage: Testbed) -> None:
    """A revoked family is dead, also where a refresh was under way."""

    def revoke(stage: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
        pair = stage.sign_in(client_id, user_id)
        return stage.revoke(client_id, pair.refresh_token), pair

    ends_against_refreshes(stage, stage.client(), revoke, check_granted)


def sign_outs_against_refreshes(stage: Testbed) -> None:
    """Who signs out of the browser is signed out of its clients, also where a refresh was under way."""

    def sign_out(stage: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
        browser = stage.browser(user_id)
        code, form = browser.allow(client_id)
        return browser.call("/logout", form), stage.pair(stage.exchange(client_id, code))

    def check_signed_out(answers: Sequence[Answer]) -> None:
        check(all(answer.status == 303 for answer in answers), "a sign-out was refused")

    ends_against_refreshes(stage, stage.client(), sign_out, check_signed_out)


def one_consent(stage: Testbed) -> None:
    """A form that is sent again and again is one decision: one code, which every answer leads to."""
    client_id, user_id = stage.client(), stage.person()
    browser = stage.browser(user_id)
    decision = browser.call("/oauth/authorize", browser.ask(client_id) | {"decision": "allow"})
    answers = stage.at_once([decision] * stage.crowd.size)
    codes = {code_in(answer) for answer in answers}
    check(len(codes) == 1, f"one decision, {len(codes)} codes")
    check(stage.count_codes(client_id) == 1, "a code of a decision is not stored")


def neighbours(stage: Testbed) -> None:
    """People who sign in at the same moment do not meet: nobody is refused, and each has a token."""
    client_id, user_ids = stage.client(), stage.people(stage.crowd.handful)
    codes = stage.codes(client_id, user_ids)
    answers = stage.at_once([stage.exchange(client_id, code) for code in codes])
    check_granted(answers)
    for user_id, answer in zip(user_ids, answers, strict=True):
        check_live(stage, client_id, user_id, [pair_of(answer).access_token])


def machines(stage: Testbed) -> None:
    """Workers of one client get a token each, and keep it."""
    machines_of(stage, stage.client())


def machines_of(stage: Testbed, client_id: str) -> None:
    answers = stage.at_once([stage.machine(client_id)] * stage.crowd.size)
    check_granted(answers)
    check_live(stage, client_id, None, [pair_of(answer).access_token for answer in answers])


class Scenario(NamedTuple):
    words: str
    play: Callable[[Testbed], None]


SCENARIOS = (
    Scenario("one code for many", one_code),
    Scenario("one refresh token for many", one_refresh_token),
    Scenario("sign-ins, one session", sign_ins_for_one_session),
    Scenario("sign-ins, three sessions", sign_ins_for_three_sessions),
    Scenario("revocation against refresh", revocations_against_refreshes),
    Scenario("sign-out against refresh", sign_outs_against_refreshes),
    Scenario("one consent for many", one_consent),
    Scenario("neighbours", neighbours),
    Scenario("machines of one client", machines),
)
