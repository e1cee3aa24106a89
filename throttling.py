"""Whose failures are counted together, and for how long they have to wait: failed sign-ins and failed client authentications.

Only failures count, those about accounts and clients that do not exist like any other. They are counted as a penalty, after the
rollback of the refused request. `protocol/throttle.py` has the rule, `store/throttles.py` the rows.
"""

from flask import request

import store.throttles
from current import settings
from protocol import clock
from protocol.throttle import Bucket, network
from unit_of_work import penalize

Buckets = list[Bucket]


def for_sign_in(account: str, device: str | None) -> Buckets:
    """A device that this account is known on is counted by itself, so strangers cannot lock its owner out.

    account: the address that was typed, in normal form. device: its entry in the cookie of known devices, or None.
    """
    if device is not None:
        return [bucket(settings.failed_sign_ins_per_account_and_address, "sign-in, device", device)]
    return [
        bucket(settings.failed_sign_ins_per_account_and_address, "sign-in, both", account, address()),
        bucket(settings.failed_sign_ins_per_account, "sign-in, account", account),
        bucket(settings.failed_sign_ins_per_address, "sign-in, address", address()),
    ]


def for_sign_up() -> Buckets:
    """Whoever tries addresses until one has an account is guessing as well."""
    return [bucket(settings.failed_sign_ins_per_address, "sign-in, address", address())]


def for_client(client_id: str) -> Buckets:
    """client_id: the one that was presented, whether there is such a client or not; "" for none."""
    return [
        bucket(settings.failed_client_authentications_per_client, "client, both", client_id, address()),
        bucket(settings.failed_client_authentications_per_address, "client, address", address()),
    ]


def bucket(failures: int, *subject: str) -> Bucket:
    return Bucket.of(failures, int(settings.throttle_period.total_seconds()), *subject)


def address() -> str:
    return network(request.remote_addr or "")


def seconds_to_wait(buckets: Buckets) -> int:
    """0 when the request may go on. One SELECT."""
    return store.throttles.seconds_to_wait(buckets, clock.now())


def count_failure(buckets: Buckets) -> None:
    """Of a request that is being refused: runs after its rollback."""
    penalize(store.throttles.count_failure, buckets, clock.now())
