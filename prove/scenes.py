"""The scenes: each brings requests to the same moment and looks at what is left. A broken promise raises BrokenPromiseError.

`SCENES` is the list of them all. What each promises is in `docs/adr/` and, against attackers, in `docs/threat-model.md`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from protocol import credentials
from prove.crowd import Answer
from prove.stage import Pair, Stage, code_in, keep, pair_of

FAMILIES = 4  # of as many people, each refreshed and ended at the same moment


# ---- what must hold afterwards ----------------------------------------------------------------------------------------


def keep_live(stage: Stage, client_id: str, user_id: int | None, access_tokens: Sequence[str]) -> None:
    """These access tokens work, and there is no other token of this person at this client."""
    stored = stage.token_digests(client_id, user_id)
    wanted = {credentials.digest(token) for token in access_tokens}
    keep(
        sorted(stored) == sorted(wanted),
        f"{len(stored)} stored tokens, and not just the {len(wanted)} that should live",
    )
    keep(all(map(stage.is_live, access_tokens)), "an access token that is stored does not work")


def keep_dead(stage: Stage, client_id: str, user_id: int, pairs: Sequence[Pair]) -> None:
    """None of these pairs is worth anything, and nothing is stored for this person at this client."""
    stored = stage.token_digests(client_id, user_id)
    keep(not stored, f"{len(stored)} stored tokens outlived the end of their family")
    for pair in pairs:
        keep(not stage.is_live(pair.access_token), "an access token outlived its family")
        answer = stage.send(stage.refresh(client_id, pair.refresh_token))
        keep(answer.error == "invalid_grant", "a refresh token outlived its family")


def keep_granted(answers: Sequence[Answer]) -> None:
    refused = [answer for answer in answers if answer.status != 200]
    keep(not refused, f"{len(refused)} of {len(answers)} were refused")


def keep_refused(answers: Sequence[Answer]) -> None:
    """All of them with the one answer for a grant that is worth nothing (RFC 6749 §5.2)."""
    kinds = {(answer.status, answer.error) for answer in answers} - {(400, "invalid_grant")}
    keep(not kinds, f"instead of refusals: {sorted(kinds)}")


# ---- the scenes -------------------------------------------------------------------------------------------------------


def one_code(stage: Stage) -> None:
    """One sender gets tokens; to all others the code was used before, and that ends what it became (RFC 6749 §4.1.2)."""
    client_id, user_id = stage.client(), stage.person()
    answers = stage.at_once([stage.exchange(client_id, stage.code(client_id, user_id))] * stage.crowd.size)
    winners = [answer for answer in answers if answer.status == 200]
    keep(len(winners) == 1, f"one code, {len(winners)} winners")
    keep_refused([answer for answer in answers if answer.status != 200])
    keep_dead(stage, client_id, user_id, [pair_of(winners[0])])


def one_refresh_token(stage: Stage) -> None:
    """All senders get one and the same pair, and one row is stored; in strict mode one gets it and the repeats are thefts."""
    client_id, user_id = stage.client(), stage.person()
    presented = stage.sign_in(client_id, user_id).refresh_token
    answers = stage.at_once([stage.refresh(client_id, presented)] * stage.crowd.size)
    pairs = {pair_of(answer) for answer in answers if answer.status == 200}
    keep(len(pairs) == 1, f"{len(pairs)} pairs for one refresh token")
    if stage.settings.refresh_leeway or stage.settings.refresh_retry_lifetime:
        keep_granted(answers)
        keep_live(stage, client_id, user_id, [pair.access_token for pair in pairs])
    else:
        keep_refused([answer for answer in answers if answer.status != 200])
        keep_dead(stage, client_id, user_id, list(pairs))


def sign_ins(stage: Stage, max_sessions: int) -> None:
    """All succeed and as many as are allowed stay, both where the person had no token and where every slot was taken."""
    client_id, user_id = stage.client(max_sessions=max_sessions), stage.person()
    for _ in range(2):
        codes = stage.codes(client_id, [user_id] * stage.crowd.size)
        answers = stage.at_once([stage.exchange(client_id, code) for code in codes])
        keep_granted(answers)
        issued = [pair_of(answer).access_token for answer in answers]
        live = [token for token in issued if stage.is_live(token)]
        keep(len(live) == max_sessions, f"{len(live)} live tokens where {max_sessions} are allowed")
        keep_live(stage, client_id, user_id, live)


def sign_ins_for_one_session(stage: Stage) -> None:
    sign_ins(stage, 1)


def sign_ins_for_three_sessions(stage: Stage) -> None:
    sign_ins(stage, 3)


def revocations_against_refreshes(stage: Stage) -> None:
    """A revoked family is dead, also where a refresh was under way."""
    client_id, user_ids = stage.client(), stage.people(FAMILIES)
    pairs = [stage.sign_in(client_id, user_id) for user_id in user_ids]
    calls = [stage.revoke(client_id, pair.refresh_token) for pair in pairs]
    rivals = [stage.refresh(client_id, pair.refresh_token) for pair in pairs]
    answers = stage.at_once([*calls, *rivals])
    keep_granted(answers[:FAMILIES])
    keep_ended(stage, client_id, user_ids, pairs, answers[FAMILIES:])


def sign_outs_against_refreshes(stage: Stage) -> None:
    """Who signs out of the browser is signed out of its clients, also where a refresh was under way."""
    client_id, user_ids = stage.client(), stage.people(FAMILIES)
    pairs, calls = [], []
    for user_id in user_ids:
        browser = stage.browser(user_id)
        code, form = browser.allow(client_id)
        pairs.append(pair_of(stage.send(stage.exchange(client_id, code))))
        calls.append(browser.call("/logout", form))
    answers = stage.at_once([*calls, *(stage.refresh(client_id, pair.refresh_token) for pair in pairs)])
    keep(all(answer.status == 303 for answer in answers[:FAMILIES]), "a sign-out was refused")
    keep_ended(stage, client_id, user_ids, pairs, answers[FAMILIES:])


def keep_ended(
    stage: Stage, client_id: str, user_ids: Sequence[int], pairs: Sequence[Pair], refreshed: Sequence[Answer]
) -> None:
    """Nothing of the families lives, nor of what a refresh that was fast enough has made of them."""
    keep_refused([answer for answer in refreshed if answer.status != 200])
    for user_id, pair, answer in zip(user_ids, pairs, refreshed, strict=True):
        keep_dead(stage, client_id, user_id, [pair, *([pair_of(answer)] if answer.status == 200 else [])])


def one_consent(stage: Stage) -> None:
    """A form that is sent again and again is one decision: one code, which every answer leads to."""
    client_id, user_id = stage.client(), stage.person()
    browser = stage.browser(user_id)
    decision = browser.call("/oauth/authorize", browser.ask(client_id) | {"decision": "allow"})
    answers = stage.at_once([decision] * stage.crowd.size)
    codes = {code_in(answer) for answer in answers}
    keep(len(codes) == 1, f"one decision, {len(codes)} codes")
    keep(stage.count_codes(client_id) == 1, "a code of a decision is not stored")


def neighbours(stage: Stage) -> None:
    """People who sign in at the same moment do not meet: nobody is refused, and each has a token."""
    client_id, user_ids = stage.client(), stage.people(stage.crowd.size)
    codes = stage.codes(client_id, user_ids)
    answers = stage.at_once([stage.exchange(client_id, code) for code in codes])
    keep_granted(answers)
    for user_id, answer in zip(user_ids, answers, strict=True):
        keep_live(stage, client_id, user_id, [pair_of(answer).access_token])


def machines(stage: Stage) -> None:
    """Workers of one client get a token each, and keep it."""
    client_id = stage.client()
    answers = stage.at_once([stage.machine(client_id)] * stage.crowd.size)
    keep_granted(answers)
    keep_live(stage, client_id, None, [pair_of(answer).access_token for answer in answers])


class Scene(NamedTuple):
    words: str
    play: Callable[[Stage], None]


SCENES = (
    Scene("one code for many", one_code),
    Scene("one refresh token for many", one_refresh_token),
    Scene("sign-ins, one session", sign_ins_for_one_session),
    Scene("sign-ins, three sessions", sign_ins_for_three_sessions),
    Scene("revocation against refresh", revocations_against_refreshes),
    Scene("sign-out against refresh", sign_outs_against_refreshes),
    Scene("one consent for many", one_consent),
    Scene("neighbours", neighbours),
    Scene("machines of one client", machines),
)
