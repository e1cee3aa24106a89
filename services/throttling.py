"""Limit failed sign-ins, failed client authentications and sign-ups: what is counted, and who has to wait.

Only failures count; those with an unknown account or client count like any other. They are stored after the
rollback of the refused request. Of sign-ups the new accounts count: each takes its place in the transaction
that makes it. `protocol/throttle.py` has the rule, `store/throttles.py` the rows, ADR 10 the reasons.
"""

from flask import request

import store.throttles
from protocol import clock
from protocol.throttle import IPV6_SITE, Bucket, network
from services.current import settings
from unit_of_work import after_rollback

Buckets = list[Bucket]

HOUR, DAY = 3600, 24 * 3600
NEWCOMER_TRIES = 3  # a day, for each network: people mistype
# So many times the limit for all unknown devices together may newcomers fail in a day.
NEWCOMERS = 20


def for_sign_in(account: str, device: str | None) -> tuple[Buckets, int]:
    """Return the buckets that a failure of this sign-in counts in, and for how many seconds it has to wait.

    A device that is known for this account has a limit of its own, so attackers cannot lock its user out. All
    other devices share the limits of the account. A network that has hardly failed today has another chance,
    within a limit for newcomers, which attackers can use up from many networks only: so the user can sign in
    with a new device. One SELECT.

    account: the address that was typed, in normal form. device: its entry in the cookie of known devices, or
    None.
    """
    if device is not None:
        return first_open(
            [bucket(settings.failed_sign_ins_per_account_and_address, "sign-in, device", device)]
        )
    alone = [
        bucket(settings.failed_sign_ins_per_account_and_address, "sign-in, both", account, address()),
        bucket(settings.failed_sign_ins_per_address, "sign-in, address", address()),
    ]
    together = bucket(settings.failed_sign_ins_per_account, "sign-in, account", account)
    site = network(request.remote_addr or "", IPV6_SITE)
    newcomer = Bucket.of(NEWCOMER_TRIES, DAY, "sign-in, newcomer", account, site)
    newcomers = Bucket.of(
        NEWCOMERS * settings.failed_sign_ins_per_account, DAY, "sign-in, newcomers", account
    )
    return first_open([*alone, together], [*alone, newcomer, newcomers])


def for_sign_up() -> Buckets:
    """Return what a sign-up with a taken address counts in: trying addresses is guessing as well."""
    return [bucket(settings.failed_sign_ins_per_address, "sign-in, address", address())]


def for_new_account() -> Bucket:
    """Return what new accounts of this network count in."""
    return Bucket.of(settings.sign_ups_per_address, HOUR, "sign-up, address", address())


def for_client(client_id: str) -> Buckets:
    """Return what a failed authentication of a client counts in.

    client_id: the one that was presented, whether there is such a client or not; "" for none.
    """
    return [
        bucket(settings.failed_client_authentications_per_client, "client, both", client_id, address()),
        bucket(settings.failed_client_authentications_per_address, "client, address", address()),
    ]


def for_fetching(client_id: str) -> Buckets:
    """Return what is asked before a client's keys are fetched: its own failures, not those of its network."""
    return for_client(client_id)[:1]


def bucket(failures: int, *subject: str) -> Bucket:
    """Return the bucket of a subject, which may fail so often in a throttle period."""
    return Bucket.of(failures, int(settings.throttle_period.total_seconds()), *subject)


def address() -> str:
    """Return the network address that the request comes from."""
    return network(request.remote_addr or "")


def seconds_to_wait(buckets: Buckets) -> int:
    """Return for how many seconds the request has to wait; 0 when it may go on. One SELECT."""
    return store.throttles.seconds_to_wait(buckets, clock.now())


def first_open(*ways: Buckets) -> tuple[Buckets, int]:
    """Return the buckets that are open, else those that will be first, and in how many seconds."""
    waits = store.throttles.all_seconds_to_wait(ways, clock.now())
    return ways[waits.index(min(waits))], min(waits)


def claim(one: Bucket) -> int:
    """Take a place in a bucket in this transaction and return 0, or the seconds to wait for one."""
    return store.throttles.claim(one, clock.now())


def count_failure(buckets: Buckets) -> None:
    """Count the failure of a request that is being refused, after its rollback."""
    after_rollback(store.throttles.count_failure, buckets, clock.now())
