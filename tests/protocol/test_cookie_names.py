"""The names of cookies: issuers of one host share none, and most have the name that they always had."""

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import issuer
from protocol.cookie_names import BROWSER_ID, DEVICE, MAXIMUM_PATH, is_of, session_cookie_name

# What cookies' names are made of: a token (RFC 6265 §4.1.1, RFC 2616 §2.2).
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NUMBER = "0123abcd"
PIECES = ["/", "a", ".", "-", "device", "browser", NUMBER, "-device", "-browser-"]
PATHS = (
    st.lists(st.sampled_from([*PIECES, "/a", "~", "_", "A", "x" * 40]), max_size=12)
    .map("".join)
    .filter(lambda path: is_issuers(path))
)


def is_issuers(path):
    return issuer.ISSUER.fullmatch(f"https://op.example{path}") is not None


def names_of(path, is_https=True):
    """Return every name that the issuer with this path sets, for one number of a browser id."""
    session = session_cookie_name(path, is_https)
    return {session, session + DEVICE, session + BROWSER_ID + NUMBER}


def is_read(name, path):
    """Return whether the issuer with this path reads a cookie of this name."""
    return is_of(session_cookie_name(path, True), name)


def paths_of(pieces, most):
    """Return every path that is put together of so many pieces at most."""
    lists = (itertools.product(pieces, repeat=count) for count in range(most + 1))
    return sorted(filter(is_issuers, {"".join(parts) for parts in itertools.chain.from_iterable(lists)}))


@pytest.mark.parametrize("is_https", [True, False])
def test_no_two_paths_share_a_name(is_https):
    owners = {}
    for path in paths_of(PIECES, 5):
        for name in names_of(path, is_https):
            assert owners.setdefault(name, path) == path, name
    assert len(owners) > 5_000


@settings(max_examples=1_000, deadline=None)
@given(PATHS, PATHS)
@example("/a/b", "/a.b")
@example("/a", "/a-device")
@example("/a", "/a-browser")
@example("/a", "/a-browser-0123abcd")
@example("/a", "/A")
@example("", "/a")
@example("/" + "a" * MAXIMUM_PATH, "/" + "a" * (MAXIMUM_PATH + 1))
@example("/" + "a" * MAXIMUM_PATH + "/b", "/" + "a" * MAXIMUM_PATH + ".b")
def test_nobody_reads_what_another_sets(one, other):
    for path in (one, other):
        assert all(is_read(name, path) and TOKEN.fullmatch(name) for name in names_of(path))
    assert one == other or not any(is_read(name, one) for name in names_of(other))
    assert one == other or not any(is_read(name, other) for name in names_of(one))


@given(PATHS)
def test_a_name_says_its_path_or_is_of_one_length(path):
    name = session_cookie_name(path, True).removeprefix("__Host-ostiary")
    if len(path) <= MAXIMUM_PATH:
        assert name.translate(str.maketrans({".": "/", "!": ".", "+": "-"})) == path
    else:
        assert len(name) == 65


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", ""),
        ("/auth", ".auth"),
        ("/realms/main", ".realms.main"),
        ("/Realm-1/~ada_x", ".Realm-1.~ada_x"),
        ("/device", ".device"),
        ("/my-devices", ".my-devices"),
        ("/my-device/login", ".my-device.login"),
        ("/in-browser", ".in+browser"),
        ("/my-device", ".my+device"),
        ("/v1.0", ".v1!0"),
        ("/" + "x" * (MAXIMUM_PATH - 1), "." + "x" * (MAXIMUM_PATH - 1)),
    ],
)
def test_only_a_path_that_could_be_read_in_two_ways_changed_its_name(path, name):
    assert session_cookie_name(path, True) == f"__Host-ostiary{name}"
    assert session_cookie_name(path, False) == f"ostiary{name}"
