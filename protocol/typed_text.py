"""Text that people type or paste: the one form in which it is kept and compared, and what is refused of it.

Enters: a name, a sentence, a password or an address, as somebody gave it. Leaves: its normal form (RFC 8265
for user names and passwords, RFC 8266 for names that are shown, RFC 6531 for addresses), and what is wrong
with that, in words. Nothing here raises.

Which characters are refused is our own choice: the RFCs' classes have no emoji that is younger than the
tables, and few joiners.
Refused are only those that no text needs: control characters and line ends, what turns the direction of
writing for all that comes after it, and code points that are no characters. Joiners stay wherever they stand
(Persian, Sinhala, Malayalam, emoji). So do the marks U+200E, U+200F and U+061C: they turn nothing around, and
copied Arabic and Hebrew is full of them.

What is far too long in any form is not normalised, because one character may become 18, and sorting combining
marks takes quadratic time: it comes back as it was, and is found too long.
"""

import re
import unicodedata
from typing import Literal

import email_validator
import idna

NAME_LENGTH = 200
ADDRESS_LENGTH = 254  # octets (RFC 5321 §4.5.3.1.3, without the angle brackets)
# A `client_id` or `sub` that somebody chose: the same text in a URL, a Basic header and a command line.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
MOST_TO_ONE = 4  # so many characters may become one: a Greek letter with three marks

# C0, DEL, C1; line and paragraph separator; embeddings, overrides and isolates (UAX #9 §2.1 to §2.5);
# surrogates; noncharacters.
REFUSED = re.compile(
    r"[\x00-\x1F\x7F-\x9F\u2028-\u202E\u2066-\u2069\uD800-\uDFFF\uFDD0-\uFDEF"
    r"\U0000fffe\U0000ffff\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe\U0003ffff"
    r"\U0004fffe\U0004ffff\U0005fffe\U0005ffff\U0006fffe\U0006ffff\U0007fffe\U0007ffff"
    r"\U0008fffe\U0008ffff\U0009fffe\U0009ffff\U000afffe\U000affff\U000bfffe\U000bffff"
    r"\U000cfffe\U000cffff\U000dfffe\U000dffff\U000efffe\U000effff\U000ffffe\U000fffff"
    r"\U0010fffe\U0010ffff]"
)
JOINERS = re.compile(r"[\u200C\u200D]")
# Letters, marks and symbols that show nothing, though their category says otherwise.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
# RFC 5322 §3.2.3, dot-atom, with what RFC 6531 §3.3 adds.
LOCAL_PART = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010FFFF-]+"
    r"(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010FFFF-]+)*"
)
AROUND_AN_ADDRESS = " \t\n\f\r\u200b\u200e\u200f\u061c\u2060\ufeff"  # what comes along when one is copied
NUMBER_AT_THE_END = re.compile(r"(.*\.)?[0-9]+")  # an IPv4 address, or what looks like one

# Closed networks have people, too: at `.local` (Active Directory), `.home.arpa` (RFC 8375), `.test`,
# `.onion`, `.localhost`. Only a name that can never exist is no address (RFC 6761 §6.4). The library keeps
# this list to be changed.
email_validator.SPECIAL_USE_DOMAIN_NAMES = ["invalid"]


# ---- what is shown -----------------------------------------------------------------------------------------


def name(text: str, maximum: int = NAME_LENGTH) -> str:
    """What people and clients are called (RFC 8266 §2.3): NFKC, one kind of blank, none around it and no two
    in a row.

    Case stays, and with it the look of a name: the RFC maps it only to compare. A few characters do change
    their look, on purpose (Ａ, ﬁ, ① and ™ become A, fi, 1 and TM): names that differ in nothing else would be
    read as the same, so they are.
    """
    return in_form("NFKC", text, maximum)


def words(text: str, maximum: int) -> str:
    """A sentence, such as what a scope allows: as a name, but in NFC, which leaves ², ™ and … as they were
    meant.
    """
    return in_form("NFC", text, maximum)


def lines(text: str, maximum: int) -> str:
    """The same for several lines, such as a postal address."""
    if len(text) > maximum * MOST_TO_ONE:
        return text
    return "\n".join(words(line, maximum) for line in text.replace("\r\n", "\n").split("\n"))


def label(text: str, maximum: int) -> str:
    """What a program says of itself, such as a browser: nobody could mend it, so it is cut, and what would be
    refused left out.
    """
    return words(REFUSED.sub("", text[: maximum * MOST_TO_ONE]), maximum)[:maximum]


def in_form(form: Literal["NFC", "NFKC"], text: str, maximum: int) -> str:
    text = text.strip(" ")
    if len(text) > maximum * MOST_TO_ONE:
        return text
    normal = with_plain_blanks(unicodedata.normalize(form, text))
    return " ".join(word for word in normal.split(" ") if word)


def with_plain_blanks(text: str) -> str:
    """Every space separator (Zs) as U+0020. Line ends and tabs are none."""
    if text.isascii():
        return text
    return "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)


# ---- what is wrong -----------------------------------------------------------------------------------------


def problem(text: str, maximum: int, minimum: int = 1) -> str | None:
    """What is wrong with a normal form, in words that go on after the name of the field.

    Text that shows nothing is none.
    """
    limits = f"{minimum} to {maximum}" if minimum else f"at most {maximum}"
    if found := refused_in(text):
        return f"must be printable text of {limits} characters, without {found}"
    is_good = minimum <= len(text) <= maximum and (not text or is_visible(text))
    return None if is_good else f"must be printable text of {limits} characters"


def refused_in(text: str) -> str:
    """The first character that no text may have, as `U+202E`, because it cannot be seen; "" for none."""
    found = REFUSED.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def printable(text: str) -> str:
    """For a terminal: a question mark in the place of each character that is refused."""
    return REFUSED.sub("?", text)


def is_visible(text: str) -> bool:
    return any(
        character not in BLANK and unicodedata.category(character) not in ("Zs", "Cf", "Cc")
        for character in text
    )


# ---- passwords ---------------------------------------------------------------------------------------------


def password(text: str, maximum: int) -> str:
    """RFC 8265 §4.2: NFC, one kind of blank. Nothing is trimmed, and case and width stay."""
    if text.isascii() or len(text) > maximum * MOST_TO_ONE:
        return text
    return unicodedata.normalize("NFC", with_plain_blanks(text))


# ---- addresses ---------------------------------------------------------------------------------------------


def address(text: str) -> str | None:
    """The one form in which an address is stored, or None for what is no address. It signs in, so its case
    does not matter.

    Local part: normalised as a UsernameCaseMapped (RFC 8265 §3.3), with the characters of RFC 6531. Domain:
    in the letters that its owner writes it with (IDNA 2008), also where it was given as `xn--…`. It may have
    a single label.
    """
    parts = in_parts(text)
    return None if parts is None else joined(with_usual_width(parts[0]), parts[1])


def addresses(text: str) -> tuple[str, ...]:
    """The forms under which the address may be stored, the present one first.

    Full-width local parts were once kept as typed.
    """
    parts = in_parts(text)
    if parts is None:
        return ()
    forms = (joined(with_usual_width(parts[0]), parts[1]), joined(parts[0], parts[1]))
    return tuple(dict.fromkeys(form for form in forms if form is not None))


def in_parts(text: str) -> tuple[str, str] | None:
    """Local part as it is, and domain in its normal form."""
    text = with_plain_blanks(text[: ADDRESS_LENGTH * MOST_TO_ONE + 1]).strip(AROUND_AN_ADDRESS)
    if len(text) > ADDRESS_LENGTH * MOST_TO_ONE:
        return None
    local_part, _at, domain = text.rpartition("@" if "@" in text else "\uff20")
    normal = domain_name(domain)
    return None if normal is None else (local_part, normal)


def joined(local_part: str, domain: str) -> str | None:
    local_part = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local_part).lower())
    whole = f"{local_part}@{domain}"
    if not is_local_part(local_part) or len(whole.encode()) > ADDRESS_LENGTH:
        return None
    return whole


def is_local_part(text: str) -> bool:
    """No quoted strings.

    What cannot be seen, but for joiners, is refused here: an address has to be told from others.
    """
    if LOCAL_PART.fullmatch(text) is None or unicodedata.category(text[0])[0] == "M":
        return False
    return all(unicodedata.category(character)[0] in "LMNPS" for character in JOINERS.sub("", text))


def with_usual_width(text: str) -> str:
    """Full-width and half-width characters as the usual ones (RFC 8265 §3.3.2, width mapping)."""
    return "".join(usual_width(character) for character in text)


def usual_width(character: str) -> str:
    kind, _blank, code_point = unicodedata.decomposition(character).partition(" ")
    return chr(int(code_point, 16)) if kind in ("<wide>", "<narrow>") else character


def domain_name(text: str) -> str | None:
    """The library refuses joiners, which IDNA 2008 allows between some letters: those are left to IDNA,
    everything else to both.
    """
    if len(text) > ADDRESS_LENGTH:
        return None
    try:
        if JOINERS.search(text) or "xn--" in text.lower():
            text = idna.decode(idna.encode(text, uts46=True))
        checked = email_validator.validate_email(
            f"x@{JOINERS.sub('', text)}", check_deliverability=False, globally_deliverable=False
        )
    except (email_validator.EmailNotValidError, UnicodeError):
        return None
    normal = text if JOINERS.search(text) else str(checked.domain)
    return None if NUMBER_AT_THE_END.fullmatch(normal) else normal
