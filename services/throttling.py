"""Whose failures are counted together, and for how long they have to wait: failed sign-ins and failed client
authentications.

Only failures count, those about accounts and clients that do not exist like any other. They are counted as a
penalty, after the rollback of the refused request. Of sign-ups it is the accounts that count: each is claimed
in the transaction that makes it. `protocol/throttle.py` has the rule, `store/throttles.py` the rows, ADR 10
the reasons.
"""

from flask import request

import store.throttles
from protocol import clock
from protocol.throttle import IPV6_SITE, Bucket, network
from services.current import settings
from unit_of_work import after_rollback

Buckets = list[Bucket]

HOUR, DAY = 3600, 24 * 3600
NEWCOMER_TRIES = 3  # a day, for each network: a person mistypes
# times what all strangers may fail in a throttle period: so often in a day they try by what is kept for
# newcomers
NEWCOMERS = 20


def for_sign_in(account: str, device: str | None) -> tuple[Buckets, int]:
    """What a failure of this sign-in is poured into, and how long it has to wait before it is tried. One
    SELECT.

    A device that this account is known on is counted by itself, so strangers cannot lock its owner out.
    Whoever comes otherwise waits for all strangers together, unless their network has hardly failed here
    today: then what is kept for newcomers is asked instead, which strangers can use up from many networks
    only. The owner of a new device is one of these.

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
    """Whoever tries addresses until one has an account is guessing as well."""
    return [bucket(settings.failed_sign_ins_per_address, "sign-in, address", address())]


def for_new_account() -> Bucket:
    """Not failures but accounts: whoever may make them, makes rows that stay."""
    return Bucket.of(settings.sign_ups_per_address, HOUR, "sign-up, address", address())


def for_client(client_id: str) -> Buckets:
    """client_id: the one that was presented, whether there is such a client or not; "" for none."""
    return [
        bucket(settings.failed_client_authentications_per_client, "client, both", client_id, address()),
        bucket(settings.failed_client_authentications_per_address, "client, address", address()),
    ]


def for_fetching(client_id: str) -> Buckets:
    """Asked before what a client publishes is fetched: its own failures from here.

    Those of its neighbours keep it from nothing.
    """
    return for_client(client_id)[:1]


def bucket(failures: int, *subject: str) -> Bucket:
    return Bucket.of(failures, int(settings.throttle_period.total_seconds()), *subject)


def address() -> str:
    return network(request.remote_addr or "")


def seconds_to_wait(buckets: Buckets) -> int:
    """0 when the request may go on. One SELECT."""
    return store.throttles.seconds_to_wait(buckets, clock.now())


def first_open(*ways: Buckets) -> tuple[Buckets, int]:
    """The first of several ways in that is open, else the one that will be first, and how long that takes."""
    waits = store.throttles.all_seconds_to_wait(ways, clock.now())
    return ways[waits.index(min(waits))], min(waits)


def claim(one: Bucket) -> int:
    """Take a place in it, in this transaction: 0, or how long to wait where there is none."""
    return store.throttles.claim(one, clock.now())


def count_failure(buckets: Buckets) -> None:
    """Of a request that is being refused: runs after its rollback."""
    after_rollback(store.throttles.count_failure, buckets, clock.now())
