"""The cookie that tells a person's own browser from strangers' is worth nothing without the server's key."""

import pytest

from crypto.device_cookie import MAXIMUM_ACCOUNTS, add_entry, find_entry

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ADA, EVE = "ada@example.com", "eve@example.com"


def test_a_browser_is_known_after_a_sign_in():
    assert find_entry("", ADA, [KEY]) is None
    cookie = add_entry("", ADA, [KEY])
    assert find_entry(cookie, ADA, [KEY])
    assert find_entry(cookie, EVE, [KEY]) is None


def test_each_browser_has_an_entry_of_its_own_and_keeps_it():
    first, second = add_entry("", ADA, [KEY]), add_entry("", ADA, [KEY])
    assert find_entry(first, ADA, [KEY]) != find_entry(second, ADA, [KEY])
    assert add_entry(first, ADA, [KEY]) == first


def test_an_entry_is_no_other_accounts_and_no_other_servers():
    cookie = add_entry("", ADA, [KEY])
    assert find_entry(cookie, ADA, [OTHER_KEY]) is None
    nonce, _dot, mac = cookie.partition(".")
    assert find_entry(f"{nonce[:-1]}x.{mac}", ADA, [KEY]) is None
    assert find_entry(f"{nonce}.{mac[:-1]}", ADA, [KEY]) is None


def test_an_old_key_is_still_known_and_renewed():
    cookie = add_entry("", ADA, [OTHER_KEY])
    assert find_entry(cookie, ADA, [KEY, OTHER_KEY])
    renewed = add_entry(cookie, ADA, [KEY, OTHER_KEY])
    assert find_entry(renewed, ADA, [KEY])
    assert renewed.count("~") == 0


def test_a_few_accounts_are_known_and_the_oldest_is_forgotten():
    cookie = ""
    people = [f"person{number}@example.com" for number in range(MAXIMUM_ACCOUNTS + 1)]
    for person in people:
        cookie = add_entry(cookie, person, [KEY])
    assert [find_entry(cookie, person, [KEY]) is not None for person in people] == [False] + [
        True
    ] * MAXIMUM_ACCOUNTS
    assert len(cookie) < 400


@pytest.mark.parametrize(
    "cookie",
    [
        "~~~~~~~~~",
        ".",
        "\x00.\ud800~é",
        "x" * 8_000,
        "a.b~" * 2_000,
        "$" * 22 + "." + ">" * 43,
        '"><script>.x',
    ],
)
def test_what_a_stranger_made_up_is_neither_known_nor_carried_on(cookie):
    assert find_entry(cookie, ADA, [KEY]) is None
    assert add_entry(cookie, ADA, [KEY]).count("~") == 0
