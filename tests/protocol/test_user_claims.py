"""Claims of a person: typed and bounded."""

import pytest

from protocol import claims, user_claims
from protocol.user_claims import find_problems

ADDRESS = {
    "formatted": "12 Rue X\n75001 Paris\r\nFrance",
    "street_address": "12 Rue X",
    "locality": "Paris",
    "region": "Île-de-France",
    "postal_code": "75001",
    "country": "France",
}
GOOD = [
    ("given_name", "Ada"),
    ("family_name", "Løvelace"),
    ("middle_name", "King"),
    ("nickname", "A."),
    ("preferred_username", "ada@home"),
    ("profile", "https://ada.example/me#work"),
    ("picture", "https://ada.example/me.png"),
    ("website", "http://ada.example:8080/"),
    ("gender", "female"),
    *(
        ("birthdate", value)
        for value in ("1815-12-10", "1815", "0000-12-10", "0000-02-29", "2000-02-29", "0001")
    ),
    *(
        ("zoneinfo", value)
        for value in ("Europe/Paris", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+5")
    ),
    *(("locale", value) for value in ("en", "fr-CA", "zh-Hant-TW")),
    *(
        ("phone_number", value)
        for value in ("+14255551212", "+1 (425) 555-1212", "+56 (2) 687 2400", "0171 555")
    ),
    ("phone_number", "+1 425 555 1212;ext=5678"),
    ("address", ADDRESS),
    ("address", {"country": "France"}),
    *(("groups", value) for value in ([], ["admins"], ["Domain Users", "dev/ops", "Größe"])),
    ("groups", [f"group {number}" for number in range(100)]),
    ("groups", ["x" * 100]),
]
NO_TEXT = ["", " ", 1, None, True, ["Ada"], "a\x1b[2J", "a\nb", "x" * 201, "\udcff"]
NO_URL = [
    "",
    1,
    None,
    "ada.example",
    "/me",
    "ftp://ada.example/",
    "javascript:alert(1)",
    "https://",
    "https://a b/",
]
BAD = [
    *(
        (name, value)
        for name, rule in user_claims.RULES.items()
        if rule is user_claims.text
        for value in NO_TEXT
    ),
    *((name, value) for name in ("profile", "picture", "website") for value in NO_URL),
    *(("website", value) for value in ("https://a@b.example/", "https://b.example:99999/", "https://[::1/")),
    ("website", "https://ada.example/" + "a" * 2000),
    *(
        ("birthdate", value)
        for value in ("0000", "1815-13-01", "1815-02-29", "1815-12", "10.12.1815", 1815, "٢٠٠٠")
    ),
    *(("birthdate", value) for value in ("", None, "1815-12-10T00:00", "1815-12-10\n", "99999")),
    *(
        ("zoneinfo", value)
        for value in ("Mars/Base", "../etc/passwd", "/etc/passwd", "Europe", "", 1, "Europe/Paris ")
    ),
    *(("locale", value) for value in ("en_US", "e", "", 1, "en-", "en-US-x-toolongsubtag")),
    *(("phone_number", value) for value in ("", "call me", 1, "+", "+1" * 40, "+1;ext=", "+1\n")),
    *(("phone_number_verified", value) for value in ("true", 1, None)),
    *(
        ("address", value)
        for value in ({}, "Paris", [], {"town": "Paris"}, {"country": 1}, {"country": ""}, None)
    ),
    *(("address", {"country": value}) for value in ("a\nb", "x" * 501, "\x1b")),
    ("address", {"formatted": "a\x1bb"}),
    *(
        ("groups", value)
        for value in ("admins", {"admins": True}, None, 1, ["admins", "admins"], ["x" * 101], [["a"]])
    ),
    *(("groups", [value]) for value in NO_TEXT),
    ("groups", [f"group {number}" for number in range(101)]),
]


@pytest.mark.parametrize(("name", "value"), GOOD, ids=lambda value: ascii(value)[:40])
def test_a_claim_that_is_good(name, value):
    assert list(find_problems({name: value})) == []


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: ascii(value)[:40])
def test_a_claim_that_is_not(name, value):
    [problem] = [
        problem
        for problem in find_problems({name: value, "phone_number": "+1"} | {name: value})
        if problem.startswith(f"{name} ")
    ]
    assert problem.isprintable()


def test_a_claim_that_nobody_can_ask_for():
    for name in ("shoe_size", "sub", "email", "name", "updated_at", "given_name#de"):
        [problem] = find_problems({name: "x"})
        assert f"{name} is no claim" in problem


@pytest.mark.parametrize(
    ("number", "verified", "words"),
    [
        ("+1 425 555 1212", True, None),
        ("+1 (425) 555-1212;ext=5", True, None),
        ("0171 555", False, None),
        ("0171 555", True, "E.164"),
        ("+1 425 555 1212 1234567", True, "E.164"),
        (None, True, "needs a phone_number"),
        (None, False, "needs a phone_number"),
    ],
)
def test_a_verified_phone_number(number, verified, words):
    given = {"phone_number_verified": verified} | ({} if number is None else {"phone_number": number})
    found = list(find_problems(given))
    assert found == [] if words is None else words in found[0]


def test_every_claim_that_a_client_can_get_has_a_rule_or_a_column():
    columns = {"name", "email", "email_verified", "updated_at"}
    assert set(user_claims.RULES) | columns == set(claims.USER_CLAIMS)


def test_without_time_zones_on_the_machine_the_form_decides(monkeypatch):
    monkeypatch.setattr(user_claims, "known_zones", frozenset)
    assert list(find_problems({"zoneinfo": "Mars/Base"})) == []
    assert list(find_problems({"zoneinfo": "../etc/passwd"})) != []
