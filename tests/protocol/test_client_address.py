"""Who a client is: chains of proxies, and every way in which one of them may spell an address."""

import pytest

from protocol.client_address import MAXIMUM_PROXIES, find_caller, read_address, read_proxy

CDN_AND_NGINX = [read_proxy("10.0.0.0/8"), read_proxy("127.0.0.1")]
PERSON = "203.0.113.99"


def address(said, peer="127.0.0.1", trusted=CDN_AND_NGINX):
    return find_caller(peer, said, "", trusted).address


def scheme(said, forwarded_for, peer="127.0.0.1"):
    return find_caller(peer, forwarded_for, said, CDN_AND_NGINX).scheme


@pytest.mark.parametrize(
    ("said", "client"),
    [
        (PERSON, PERSON),
        (f"{PERSON}, 10.0.0.5", PERSON),
        (f"{PERSON},10.0.0.5,10.9.9.9", PERSON),
        # whatever stands left of the first who is not trusted was theirs to write
        (f"6.6.6.6, {PERSON}", PERSON),
        (f"127.0.0.1, 10.0.0.1, {PERSON}, 10.0.0.5", PERSON),
        (f"rubbish, {PERSON}, 10.0.0.5", PERSON),
        (f"{PERSON}, , 10.0.0.5,", PERSON),  # empty members count as left out (RFC 9110 §5.6.1.2)
        ("10.1.1.1, 10.0.0.5", "10.1.1.1"),  # all are proxies: the request began at the first of them
        ("", "127.0.0.1"),
        (" , ,", "127.0.0.1"),
    ],
)
def test_the_list_is_read_from_the_right(said, client):
    assert address(said) == client


@pytest.mark.parametrize(
    "said", ["unknown", "_hidden", "_SEVKISEK:_port", "somebody", "999.1.1.1", "\x00", "[", "::", "é"]
)
def test_where_a_proxy_does_not_know_its_own_address_counts(said):
    assert address(f"{PERSON}, {said}, 10.0.0.5") in ("10.0.0.5", "::")


@pytest.mark.threat("T160")
@pytest.mark.parametrize("peer", ["192.0.2.1", "", "unix:", "somebody", "127.0.0.2", "::1", "2001:db8::1"])
def test_a_stranger_says_what_they_like(peer):
    caller = find_caller(peer, f"{PERSON}, 10.0.0.5", "https", CDN_AND_NGINX)
    assert PERSON not in caller.address
    assert (caller.scheme, caller.is_through_proxy) == (None, False)


SPELLINGS = {
    PERSON: [
        PERSON,
        f"{PERSON}:4711",
        f'"{PERSON}:4711"',
        f"{PERSON}:_port",
        f"::ffff:{PERSON}",
        f"::FFFF:{PERSON}",
        f"[::ffff:{PERSON}]:4711",
        "::ffff:cb00:7163",
        "0:0:0:0:0:ffff:cb00:7163",
        f"\t {PERSON} ",
    ],
    "2001:db8::1": [
        "2001:db8::1",
        "2001:DB8:0:0:0:0:0:1",
        "2001:0db8:0000:0000:0000:0000:0000:0001",
        "[2001:db8::1]",
        "[2001:db8::1]:4711",
        '"[2001:db8::1]:4711"',
        "[2001:db8::1]:",
        "2001:db8:0:0:0:0:0:1:4711",
        "2001:db8::1%eth0",
        "[2001:db8::1%eth0]:4711",
    ],
}


@pytest.mark.parametrize(
    ("client", "said"), [(client, said) for client in SPELLINGS for said in SPELLINGS[client]]
)
def test_every_spelling_of_an_address_is_one_address(client, said):
    assert address(said) == client
    assert address(f"{said}, 10.0.0.5:443, ::ffff:10.0.0.6") == client


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("somebody", "somebody"),
    ],
)
def test_a_peer_has_one_spelling_too(peer, client):
    """A socket that listens for both protocols gives IPv4 peers as IPv6 addresses."""
    assert address("", peer=peer) == client


@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:5000"])
@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
def test_a_trusted_proxy_is_known_in_every_spelling(peer, trusted):
    assert address(PERSON, peer=peer, trusted=[read_proxy(trusted)]) == PERSON


@pytest.mark.parametrize("peer", ["", "unix:"])
def test_behind_a_unix_socket_is_a_proxy_if_the_settings_say_so(peer):
    assert address(PERSON, peer=peer) == ""
    assert address(PERSON, peer=peer, trusted=[read_proxy("unix")]) == PERSON
    assert address(f"{PERSON}, unix:", peer=peer, trusted=[read_proxy("unix")]) == PERSON
    assert address("", peer=peer, trusted=[read_proxy("unix")]) == ""
    assert address(f"{PERSON}, unix:") == ""  # not trusted, where it does not say so


@pytest.mark.parametrize(
    ("said", "forwarded_for", "expected"),
    [
        ("https", PERSON, "https"),
        ("HTTP", PERSON, "http"),
        ("https", f"{PERSON}, 10.0.0.5", "https"),  # each proxy sets it
        ("https, http", f"{PERSON}, 10.0.0.5", "https"),  # each appends: TLS ended at the CDN
        ("http, https", PERSON, "https"),  # the first of these was the client's
        ("https, http, http", f"{PERSON}, 10.0.0.5", "http"),
        ("https", "", "https"),
        ("", PERSON, None),
        ("gopher", PERSON, None),
        ("https, \x00", PERSON, None),
    ],
)
def test_the_scheme_is_of_the_same_place(said, forwarded_for, expected):
    assert scheme(said, forwarded_for) == expected


def test_no_chain_is_followed_without_end():
    everywhere = [read_proxy("0.0.0.0/0")]
    said = ", ".join(f"192.0.2.{number % 250}" for number in range(100_000))
    caller = find_caller("127.0.0.1", said, "https," * 100_000, everywhere)
    assert caller.address == f"192.0.2.{(100_000 - MAXIMUM_PROXIES) % 250}"


@pytest.mark.parametrize(
    "text",
    ["", ".", "1", "0x7f.1", "127.1", "1.2.3.4.5", "1.2.3.4/8", "::ffff:1.2.3", "a" * 10_000, "१.१.१.१"],
)
def test_what_is_no_address(text):
    assert read_address(text) is None


@pytest.mark.parametrize("text", ["", "proxy.example", "10.0.0.1/8", "UNIX", "127.0.0.1/33"])
def test_what_nobody_can_trust(text):
    with pytest.raises(ValueError, match=r".*"):
        read_proxy(text)
