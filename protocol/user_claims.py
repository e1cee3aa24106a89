"""Claims about a user that have no column: which values they may have.

They are those of OpenID Connect Core §5.1, and `groups`.

Enters: claims by name, as an operator gave them or as they are stored. Leaves: everything that is wrong with
them, in words. `protocol/claims.py` has what a client gets of them, and for which scope.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from crypto.json_values import JsonObject
from protocol import redirect_uris, typed_text
from protocol.json_rules import Rule, boolean, text_of_at_most

MAXIMUM_TEXT_LENGTH = typed_text.NAME_LENGTH
MAXIMUM_ADDRESS_LENGTH = 500
MAXIMUM_GROUPS = 100
MAXIMUM_GROUP_LENGTH = 100
ADDRESS_MEMBERS = ("formatted", "street_address", "locality", "region", "postal_code", "country")
SEVERAL_LINES = frozenset({"formatted", "street_address"})  # §5.1.1
BIRTHDATE = re.compile(r"(?P<year>\d{4})(-(?P<month>\d\d)-(?P<day>\d\d))?", re.ASCII)
A_LEAP_YEAR = 2000
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")  # BCP 47
PHONE_NUMBER = re.compile(r"\+?[0-9(][0-9 ().-]{0,30}(;ext=[0-9]{1,10})?")  # RFC 3966 §5.3 for the extension
# with the blanks and brackets of §5.1's examples
E164 = re.compile(r"\+[1-9]([ ().-]*[0-9]){1,14}(;ext=[0-9]{1,10})?")

text = text_of_at_most(MAXIMUM_TEXT_LENGTH)


def url(value: object) -> str | None:
    """Return what is wrong with a value that must be a web address."""
    written = value if isinstance(value, str) and redirect_uris.WITH_FRAGMENT.fullmatch(value) else ""
    try:
        parts = urlsplit(written)
        is_url = parts.scheme in ("https", "http") and bool(parts.hostname) and "@" not in parts.netloc
        is_url = is_url and parts.port != 0 and len(written) <= redirect_uris.MAXIMUM_LENGTH
    except ValueError:
        is_url = False
    return None if is_url else "must be a URL in ASCII, such as https://ada.example/"


def birthdate(value: object) -> str | None:
    """Return what is wrong with a value that must be a date. The year 0000 stands for none (§5.1)."""
    match = BIRTHDATE.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None or (match["month"] is None and match["year"] == "0000"):
            raise ValueError
        date(int(match["year"]) or A_LEAP_YEAR, int(match["month"] or 1), int(match["day"] or 1))
    except ValueError:
        return "must be a date: YYYY-MM-DD, YYYY, or 0000-MM-DD without the year"
    return None


def zone(value: object) -> str | None:
    """Return what is wrong with a value that must be the name of a time zone."""
    is_name = isinstance(value, str) and ZONE.fullmatch(value) is not None
    if not is_name or (known_zones() and value not in known_zones()):
        return "must be the name of a time zone, such as Europe/Paris"
    return None


@cache
def known_zones() -> frozenset[str]:
    """Return the time zones that this machine knows; a small container image may have none."""
    return frozenset(available_timezones())


def locale(value: object) -> str | None:
    """Return what is wrong with a value that must be a language tag."""
    is_tag = isinstance(value, str) and LOCALE.fullmatch(value) is not None
    return None if is_tag else "must be a language tag, such as fr-CA"


def phone_number(value: object) -> str | None:
    """Return what is wrong with a value that must be a phone number."""
    is_number = isinstance(value, str) and PHONE_NUMBER.fullmatch(value) is not None
    return None if is_number else "must be a phone number, best as +1 425 555 1212 (E.164)"


def address(value: object) -> str | None:
    """Return what is wrong with a value that must be a postal address (§5.1.1)."""
    if not isinstance(value, dict) or not value or not set(value) <= set(ADDRESS_MEMBERS):
        return f"must be an object with any of {', '.join(ADDRESS_MEMBERS)}"
    wrong = [name for name, part in value.items() if not is_part_of_address(name, part)]
    limits = f"printable text of 1 to {MAXIMUM_ADDRESS_LENGTH} characters"
    return f"must have {limits} in {', '.join(wrong)}" if wrong else None


def is_part_of_address(name: str, part: object) -> bool:
    """Return whether a member of an address has a value that it may have."""
    if not isinstance(part, str):
        return False
    in_one_line = part.replace("\r\n", " ").replace("\n", " ") if name in SEVERAL_LINES else part
    return typed_text.find_problem(in_one_line, MAXIMUM_ADDRESS_LENGTH) is None


def groups(value: object) -> str | None:
    """Return what is wrong with a value that must be a list of group names; it may be empty.

    The list is bounded, because it goes into tokens, and these into headers.
    """
    if isinstance(value, list) and len(value) <= MAXIMUM_GROUPS and not any(map(text, value)):
        if len(set(value)) == len(value) and all(len(name) <= MAXIMUM_GROUP_LENGTH for name in value):
            return None
    limits = f"{MAXIMUM_GROUPS} different names of 1 to {MAXIMUM_GROUP_LENGTH} printable characters"
    return f'must be a list such as ["admins"], of at most {limits}'


RULES: dict[str, Rule] = {
    "given_name": text,
    "family_name": text,
    "middle_name": text,
    "nickname": text,
    "preferred_username": text,
    "profile": url,
    "picture": url,
    "website": url,
    "gender": text,
    "birthdate": birthdate,
    "zoneinfo": zone,
    "locale": locale,
    "phone_number": phone_number,
    "phone_number_verified": boolean,
    "address": address,
    "groups": groups,
}


def normalize(claims: Mapping[str, object]) -> JsonObject:
    """Return claims as they are stored: text in the form of `protocol/typed_text.py`, the rest unchanged."""
    return {name: normalize_value(name, value) for name, value in claims.items()}


def normalize_value(name: str, value: object) -> object:
    """Return the value of a claim as it is stored."""
    if RULES.get(name) in (text, phone_number) and isinstance(value, str):
        return typed_text.normalize_name(value, MAXIMUM_TEXT_LENGTH)
    if name == "groups" and isinstance(value, list) and len(value) <= MAXIMUM_GROUPS:
        return [
            typed_text.normalize_sentence(item, MAXIMUM_TEXT_LENGTH) if isinstance(item, str) else item
            for item in value
        ]
    if name == "address" and isinstance(value, dict):
        return {member: normalize_part(member, part) for member, part in value.items()}
    return value


def normalize_part(member: str, part: object) -> object:
    """Return the value of a member of an address as it is stored."""
    form = typed_text.normalize_lines if member in SEVERAL_LINES else typed_text.normalize_sentence
    return form(part, MAXIMUM_ADDRESS_LENGTH) if isinstance(part, str) else part


def find_problems(claims: Mapping[str, object]) -> Iterator[str]:
    """Return everything that is wrong with the claims of a user, each in words for the operator."""
    for name, value in claims.items():
        rule = RULES.get(name)
        if rule is None:
            yield f"{name} is no claim that this server has: use {', '.join(RULES)}"
        elif problem := rule(value):
            yield f"{name} {problem}"
    if "phone_number_verified" not in claims:
        return
    number = claims.get("phone_number")
    if number is None:
        yield "phone_number_verified needs a phone_number"
    elif claims["phone_number_verified"] is True and isinstance(number, str) and not E164.fullmatch(number):
        yield "a phone_number that is verified must be as in +1 425 555 1212 (E.164)"
