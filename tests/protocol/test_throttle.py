"""The rule of a leaky bucket, and what counts as one address."""

import pytest

from protocol.throttle import IPV6_SITE, Bucket, network
from services.throttling import NEWCOMERS

NOW = 1_000_000


def fail(bucket, empty_at, now=NOW):
    """What the database makes of one failure more."""
    return max(empty_at, now) + bucket.drain_seconds


def test_so_many_failures_at_once_and_then_one_at_a_time():
    bucket = Bucket.of(10, 900, "x")
    empty_at = NOW
    for _failure in range(10):
        assert bucket.seconds_to_wait(empty_at, NOW) == 0
        empty_at = fail(bucket, empty_at)
    assert bucket.seconds_to_wait(empty_at, NOW) == 90
    assert bucket.seconds_to_wait(empty_at, NOW + 89) == 1
    assert bucket.seconds_to_wait(empty_at, NOW + 90) == 0
    empty_at = fail(bucket, empty_at, NOW + 90)
    assert bucket.seconds_to_wait(empty_at, NOW + 90) == 90


def test_a_bucket_is_empty_again_after_the_period():
    bucket = Bucket.of(10, 900, "x")
    assert NOW + 10 * bucket.drain_seconds == NOW + 900


def test_one_failure_may_be_all_there_is():
    bucket = Bucket.of(1, 60, "x")
    assert bucket.seconds_to_wait(NOW, NOW) == 0
    assert bucket.seconds_to_wait(fail(bucket, NOW), NOW) == 60


def test_more_failures_than_seconds_still_drain():
    assert Bucket.of(1_000, 60, "x").drain_seconds == 1


def test_subjects_do_not_run_into_each_other():
    digests = {
        Bucket.of(1, 1, *subject).digest
        for subject in [("a", "b", "c"), ("ab", "c"), ("a", "bc"), ("abc",), ("a", "b")]
    }
    assert len(digests) == 5
    assert Bucket.of(1, 1, "a", "\ud800").digest != Bucket.of(1, 1, "a", "?").digest


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_what_counts_as_one_address(address, same):
    assert network(address) == same


def most_in_a_day(bucket):
    """Of whoever tries each second, after a rest."""
    empty_at, tries = NOW, 0
    for second in range(24 * 3600):
        if bucket.seconds_to_wait(empty_at, NOW + second) == 0:
            tries += 1
            empty_at = fail(bucket, empty_at, NOW + second)
    return tries


@pytest.mark.threat("T119")
def test_strangers_with_all_addresses_of_the_world_have_so_many_tries_a_day():
    """With the default settings, at one account."""
    together, newcomers = Bucket.of(50, 15 * 60, "x"), Bucket.of(NEWCOMERS * 50, 24 * 3600, "y")
    assert most_in_a_day(together) + most_in_a_day(newcomers) == 4_849 + 2_004


def test_a_site_is_wider_than_a_network():
    assert network("2001:db8:1:2::7", IPV6_SITE) == "2001:db8:1::/48"
    assert network("192.0.2.7", IPV6_SITE) == "192.0.2.7"
