"""The smaller rules: credentials and their tags, seals, PKCE, scopes, passwords."""

import pytest

from crypto.credentials import RefreshToken, RefreshTokenMaker, derive_key, digest
from crypto.encryption import decrypt, encrypt
from protocol import pkce, scopes
from services import passwords


def test_a_refresh_token_is_read_back_in_its_parts():
    token = RefreshTokenMaker("k" * 32).new()
    assert RefreshToken.parse(str(token)) == token
    assert len(str(token)) == 84
    assert str(token).startswith("ost_rt_")


def test_tokens_of_a_family_share_its_part_only():
    maker = RefreshTokenMaker("k" * 32)
    first = maker.new()
    second = maker.new(first.family)
    assert first.family == second.family
    assert first.secret != second.secret
    assert first.tag != second.tag


def test_a_tag_is_of_one_key_and_one_token():
    maker = RefreshTokenMaker("k" * 32)
    token = maker.new()
    assert maker.has_valid_tag(token)
    assert not maker.has_valid_tag(token._replace(secret=maker.new().secret))
    assert not maker.has_valid_tag(token._replace(family=maker.new().family))
    assert not RefreshTokenMaker("o" * 32).has_valid_tag(token)
    assert RefreshTokenMaker("o" * 32, ("k" * 32,)).has_valid_tag(token)


def test_keys_have_one_purpose_each():
    assert derive_key("k", "a") != derive_key("k", "b") != derive_key("l", "b")


def test_a_digest_exists_for_any_text():
    assert len({digest(text) for text in ("", "a", "é", "\0", "\ud800")}) == 5


def test_a_seal_opens_for_the_token_it_was_made_for():
    box = encrypt({"access_token": "x"}, "the old token")
    assert decrypt(box, "the old token") == {"access_token": "x"}
    assert decrypt(box, "another token") is None
    assert decrypt(b"", "the old token") is None
    assert decrypt(b"short", "the old token") is None
    assert decrypt(box[:-1] + bytes([box[-1] ^ 1]), "the old token") is None
    assert encrypt({}, "t") != encrypt({}, "t")


def test_the_example_of_rfc_7636():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert pkce.s256(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.threat("T042", "T043", "T045")
@pytest.mark.parametrize(
    ("verifier", "challenge", "expected"),
    [
        ("v" * 43, pkce.s256("v" * 43), True),
        ("v" * 128, pkce.s256("v" * 128), True),
        ("v" * 42, pkce.s256("v" * 42), False),
        ("v" * 129, pkce.s256("v" * 129), False),
        ("v" * 42 + "é", "x" * 43, False),
        ("v" * 43 + "\n", pkce.s256("v" * 43), False),
        ("w" * 43, pkce.s256("v" * 43), False),
        (None, pkce.s256("v" * 43), False),
        ("v" * 43, None, False),
        (None, None, True),
    ],
)
def test_a_verifier_matches_its_challenge_alone(verifier, challenge, expected):
    assert pkce.matches(verifier, challenge) is expected


def test_a_scope_string_is_split_and_compared_as_a_set():
    assert scopes.split("b a b  c") == ("b", "a", "c")
    assert scopes.split(None) == scopes.split("") == ()
    assert scopes.is_within("a", "b a")
    assert not scopes.is_within("a c", "b a")
    assert scopes.is_scope_token("read:notes")
    assert (
        not scopes.is_scope_token('a"b')
        and not scopes.is_scope_token("a b")
        and not scopes.is_scope_token("")
    )


def test_a_hash_fits_its_password_alone():
    stored = passwords.hash_password("correct horse battery")
    assert stored.startswith("$argon2id$")
    assert passwords.is_right("correct horse battery", stored)
    assert not passwords.is_right("correct horse batterz", stored)
    assert not passwords.is_right("x", None)
    assert not passwords.needs_rehash("x", "x", stored)
    assert passwords.needs_rehash("x", "x", stored.replace("t=2", "t=1"))
    assert passwords.needs_rehash("e\u0301", "e\u0301", stored)


@pytest.mark.threat("T117")
@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("x" * 11, False),
        ("x" * 12, True),
        ("x" * 1_024, True),
        ("x" * 1_025, False),
        ("x" * 12 + "\0", False),
    ],
)
def test_which_passwords_may_be_chosen(password, good):
    assert (passwords.find_problem(password) is None) is good


@pytest.mark.threat("T117")
def test_long_passwords_are_not_cut():
    stored = passwords.hash_password("x" * 72 + "a")
    assert not passwords.is_right("x" * 72 + "b", stored)
