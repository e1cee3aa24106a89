"""The scenarios of `flask prove`: each sends requests at the same moment, and checks what is stored then.

A broken guarantee raises BrokenPromiseError. `SCENARIOS` lists them all. `docs/adr/` has the guarantees, and
`docs/threat-model.md` those against attackers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from crypto import credentials
from testing.races.testbed import Pair, Testbed, check, code_in, pair_of
from testing.races.workers import Answer, Call

# How many seconds a refresh begins before its family is revoked; each is tried with another user.
LEADS = (-0.002, -0.001, 0, 0.001)


# ---- what must hold afterwards -----------------------------------------------------------------------------


def check_live(testbed: Testbed, client_id: str, user_id: int | None, access_tokens: Sequence[str]) -> None:
    """Check that these access tokens work, and that this user has no other token at this client."""
    stored = testbed.token_digests(client_id, user_id)
    wanted = {credentials.digest(token) for token in access_tokens}
    check(
        sorted(stored) == sorted(wanted),
        f"{len(stored)} stored tokens, and not just the {len(wanted)} that should live",
    )
    check(all(map(testbed.is_live, access_tokens)), "an access token that is stored does not work")


def check_dead(testbed: Testbed, client_id: str, user_id: int, pairs: Sequence[Pair]) -> None:
    """Check that none of these pairs is accepted, and that this user has no token at this client."""
    stored = testbed.token_digests(client_id, user_id)
    check(not stored, f"{len(stored)} stored tokens outlived the end of their family")
    for pair in pairs:
        check(not testbed.is_live(pair.access_token), "an access token outlived its family")
        answer = testbed.send(testbed.refresh(client_id, pair.refresh_token))
        check(answer.error == "invalid_grant", "a refresh token outlived its family")


def check_granted(answers: Sequence[Answer]) -> None:
    """Check that all requests succeeded."""
    refused = [answer for answer in answers if answer.status != 200]
    check(not refused, f"{len(refused)} of {len(answers)} were refused")


def check_refused(answers: Sequence[Answer]) -> None:
    """Check that all requests were refused with `invalid_grant` (RFC 6749 §5.2)."""
    kinds = {(answer.status, answer.error) for answer in answers} - {(400, "invalid_grant")}
    check(not kinds, f"instead of refusals: {sorted(kinds)}")


# ---- the scenarios -----------------------------------------------------------------------------------------


def one_code(testbed: Testbed) -> None:
    """Exchange one code many times: one request gets tokens, and the others revoke them (RFC 6749 §4.1.2)."""
    client_id, user_id = testbed.client(), testbed.new_user()
    answers = testbed.at_once(
        [testbed.exchange(client_id, testbed.code(client_id, user_id))] * testbed.workers.size
    )
    winners = [answer for answer in answers if answer.status == 200]
    check(len(winners) == 1, f"one code, {len(winners)} winners")
    check_refused([answer for answer in answers if answer.status != 200])
    check_dead(testbed, client_id, user_id, [pair_of(winners[0])])


def one_refresh_token(testbed: Testbed) -> None:
    """Refresh with one token many times: all requests get the same pair, and it works.

    In strict mode one request gets it, and the repeats count as reuse.
    """
    client_id, user_id = testbed.client(), testbed.new_user()
    presented = testbed.sign_in(client_id, user_id).refresh_token
    answers = testbed.at_once([testbed.refresh(client_id, presented)] * testbed.workers.size)
    pair = the_one_pair([answer for answer in answers if answer.status == 200])
    if testbed.settings.refresh_leeway or testbed.settings.refresh_retry_lifetime:
        check_granted(answers)
        check(pair.refresh_token != presented, "a refresh token was not replaced")
        check_live(testbed, client_id, user_id, [pair.access_token])
        renewed = testbed.pair(testbed.refresh(client_id, pair.refresh_token))
        check_live(testbed, client_id, user_id, [renewed.access_token])
    else:
        check([answer.status for answer in answers].count(200) == 1, "more than one was served")
        check_refused([answer for answer in answers if answer.status != 200])
        check_dead(testbed, client_id, user_id, [pair])


def the_one_pair(answers: Sequence[Answer]) -> Pair:
    """Return the pair that all these answers have, which grant it."""
    check_granted(answers)
    pairs = {pair_of(answer) for answer in answers}
    check(len(pairs) == 1, f"{len(pairs)} pairs for one refresh token")
    return pairs.pop()


def sign_ins(testbed: Testbed, max_sessions: int) -> None:
    """Sign in many times: all succeed, and as many sessions as are allowed stay.

    The first round begins without a token, the second one with every slot taken.
    """
    client_id, user_id = testbed.client(max_sessions=max_sessions), testbed.new_user()
    for _ in range(2):
        codes = testbed.codes(client_id, [user_id] * testbed.workers.capacity)
        answers = testbed.at_once([testbed.exchange(client_id, code) for code in codes])
        check_granted(answers)
        issued = [pair_of(answer).access_token for answer in answers]
        live = [token for token in issued if testbed.is_live(token)]
        check(len(live) == max_sessions, f"{len(live)} live tokens where {max_sessions} are allowed")
        check_live(testbed, client_id, user_id, live)


def sign_ins_for_one_session(testbed: Testbed) -> None:
    """Sign in many times where one session is allowed."""
    sign_ins(testbed, 1)


def sign_ins_for_three_sessions(testbed: Testbed) -> None:
    """Sign in many times where three sessions are allowed."""
    sign_ins(testbed, 3)


Offence = Callable[[Testbed, str, int], tuple[Call, Pair]]


def ends_against_refreshes(
    testbed: Testbed,
    client_id: str,
    offend: Offence,
    check_ended: Callable[[Sequence[Answer]], None],
) -> None:
    """Revoke families while they are refreshed: they are revoked in the end, whichever was first.

    `offend(testbed, client_id, user_id)` returns the call that revokes a family, and the family's current
    pair. `check_ended` checks the answers to those calls.
    """
    user_ids = testbed.new_users(len(LEADS))
    offences = [offend(testbed, client_id, user_id) for user_id in user_ids]
    calls = []
    for lead, (offence, pair) in zip(LEADS, offences, strict=True):
        rival = testbed.refresh(client_id, pair.refresh_token)
        calls += [offence.later(max(lead, 0)), rival.later(max(-lead, 0))]
    answers = testbed.at_once(calls)
    check_ended(answers[::2])
    for user_id, (_, pair), answer in zip(user_ids, offences, answers[1::2], strict=True):
        check_dead(testbed, client_id, user_id, [pair, *granted_or_refused(answer)])


def granted_or_refused(answer: Answer) -> list[Pair]:
    """Return the pair of a refresh that was first, and nothing for one that was refused."""
    if answer.status == 200:
        return [pair_of(answer)]
    check_refused([answer])
    return []


def revocations_against_refreshes(testbed: Testbed) -> None:
    """Revoke refresh tokens while they are refreshed: the families are revoked in the end."""

    def revoke(testbed: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
        pair = testbed.sign_in(client_id, user_id)
        return testbed.revoke(client_id, pair.refresh_token), pair

    ends_against_refreshes(testbed, testbed.client(), revoke, check_granted)


def sign_outs_against_refreshes(testbed: Testbed) -> None:
    """Sign users out while their tokens are refreshed: the tokens are revoked in the end."""

    def sign_out(testbed: Testbed, client_id: str, user_id: int) -> tuple[Call, Pair]:
        browser = testbed.browser(user_id)
        code, form = browser.allow(client_id)
        return browser.call("/logout", form), testbed.pair(testbed.exchange(client_id, code))

    def check_signed_out(answers: Sequence[Answer]) -> None:
        check(all(answer.status == 303 for answer in answers), "a sign-out was refused")

    ends_against_refreshes(testbed, testbed.client(), sign_out, check_signed_out)


def one_consent(testbed: Testbed) -> None:
    """Send one consent form many times: it is one decision, and every answer has the same code."""
    client_id, user_id = testbed.client(), testbed.new_user()
    browser = testbed.browser(user_id)
    decision = browser.call("/oauth/authorize", browser.ask(client_id) | {"decision": "allow"})
    answers = testbed.at_once([decision] * testbed.workers.size)
    codes = {code_in(answer) for answer in answers}
    check(len(codes) == 1, f"one decision, {len(codes)} codes")
    check(testbed.count_codes(client_id) == 1, "a code of a decision is not stored")


def neighbours(testbed: Testbed) -> None:
    """Sign in many users at the same moment: nobody is refused, and each has a token."""
    client_id, user_ids = testbed.client(), testbed.new_users(testbed.workers.capacity)
    codes = testbed.codes(client_id, user_ids)
    answers = testbed.at_once([testbed.exchange(client_id, code) for code in codes])
    check_granted(answers)
    for user_id, answer in zip(user_ids, answers, strict=True):
        check_live(testbed, client_id, user_id, [pair_of(answer).access_token])


def client_credentials_at_once(testbed: Testbed) -> None:
    """Request client credentials many times for one client: each request gets a token that stays valid."""
    client_credentials_of(testbed, testbed.client())


def client_credentials_of(testbed: Testbed, client_id: str) -> None:
    """Request client credentials many times for this client."""
    answers = testbed.at_once([testbed.client_credentials(client_id)] * testbed.workers.size)
    check_granted(answers)
    check_live(testbed, client_id, None, [pair_of(answer).access_token for answer in answers])


class Scenario(NamedTuple):
    """A scenario, and its name in results."""

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
    Scenario("machines of one client", client_credentials_at_once),
)
