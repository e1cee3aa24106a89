"""Text that people type or paste: its normal form, and which characters are refused.

Enters: a name, a sentence, a password or an address, as it was typed. Leaves: its normal form (RFC 8265 for
user names and passwords, RFC 8266 for names that are shown, RFC 6531 for addresses), and what is wrong with
that, in words. Nothing here raises an exception.

Which characters are refused is our own choice: the classes of the RFCs lack emoji that are younger than
Python's tables, and most joiners. Only those are refused that no text needs: control characters and line
ends, characters that change the direction of writing for all that follows, and code points that are no
characters. Joiners are allowed everywhere (Persian, Sinhala, Malayalam, emoji). So are the marks U+200E,
U+200F and U+061C: they change no direction, and copied Arabic and Hebrew text often has them.

Text that is far too long in any form is returned unchanged, and then found too long. To normalise it could be
slow: one character may become 18, and sorting combining marks takes quadratic time.
"""

import re
import unicodedata
from typing import Literal

import email_validator
import idna

NAME_LENGTH = 200
ADDRESS_LENGTH = 254  # octets (RFC 5321 §4.5.3.1.3, without the angle brackets)
# A `client_id` or `sub` that an operator chose: the same text in a URL, a Basic header and a command line.
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
MOST_TO_ONE = 4  # characters that may become one: a Greek letter with three marks

# C0, DEL, C1; line and paragraph separator; embeddings, overrides and isolates (UAX #9 §2.1 to §2.5);
# surrogates; noncharacters.
FORBIDDEN = re.compile(
    r"[\x00-\x1F\x7F-\x9F\u2028-\u202E\u2066-\u2069\uD800-\uDFFF\uFDD0-\uFDEF"
    r"\U0000fffe\U0000ffff\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe\U0003ffff"
    r"\U0004fffe\U0004ffff\U0005fffe\U0005ffff\U0006fffe\U0006ffff\U0007fffe\U0007ffff"
    r"\U0008fffe\U0008ffff\U0009fffe\U0009ffff\U000afffe\U000affff\U000bfffe\U000bffff"
    r"\U000cfffe\U000cffff\U000dfffe\U000dffff\U000efffe\U000effff\U000ffffe\U000fffff"
    r"\U0010fffe\U0010ffff]"
)
JOINERS = re.compile(r"[\u200C\u200D]")
# Letters, marks and symbols that are invisible, though their category does not say so.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
# RFC 5322 §3.2.3, dot-atom, with what RFC 6531 §3.3 adds.
LOCAL_PART = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010FFFF-]+"
    r"(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010FFFF-]+)*"
)
AROUND_AN_ADDRESS = (
    " \t\n\f\r\u200b\u200e\u200f\u061c\u2060\ufeff"  # characters that are copied along with an address
)
NUMBER_AT_THE_END = re.compile(r"(.*\.)?[0-9]+")  # an IPv4 address, or text that looks like one

# Closed networks have users too, with addresses at `.local` (Active Directory), `.home.arpa` (RFC 8375),
# `.test`, `.onion` or `.localhost`. Only a domain that can never exist is refused (RFC 6761 §6.4). The
# library documents this list as one to change.
email_validator.SPECIAL_USE_DOMAIN_NAMES = ["invalid"]


# ---- normal forms of text that is shown --------------------------------------------------------------------


def normalize_name(text: str, maximum: int = NAME_LENGTH) -> str:
    """Return the name of a user or client in its normal form (RFC 8266 §2.3).

    It is NFKC, with U+0020 as the only blank, none at the ends and no two in a row. Upper and lower case
    stay: the RFC maps them only to compare. A few characters look different afterwards (Ａ, ﬁ, ① and ™ become
    A, fi, 1 and TM): people would read two names that differ only in these as the same.
    """
    return normalize("NFKC", text, maximum)


def normalize_sentence(text: str, maximum: int) -> str:
    """Return a sentence, such as a scope's description, as NFC, which keeps characters such as ² and ™."""
    return normalize("NFC", text, maximum)


def normalize_lines(text: str, maximum: int) -> str:
    """Return text of several lines, such as a postal address, in its normal form."""
    if len(text) > maximum * MOST_TO_ONE:
        return text
    return "\n".join(normalize_sentence(line, maximum) for line in text.replace("\r\n", "\n").split("\n"))


def normalize_label(text: str, maximum: int) -> str:
    """Return what a program says of itself, such as a browser's name, in its normal form.

    No user could correct it, so it is cut to `maximum`, and characters that would be refused are left out.
    """
    return normalize_sentence(FORBIDDEN.sub("", text[: maximum * MOST_TO_ONE]), maximum)[:maximum]


def normalize(form: Literal["NFC", "NFKC"], text: str, maximum: int) -> str:
    """Return text in a Unicode normalization form, with single blanks between its words."""
    text = text.strip(" ")
    if len(text) > maximum * MOST_TO_ONE:
        return text
    normal = replace_blanks(unicodedata.normalize(form, text))
    return " ".join(word for word in normal.split(" ") if word)


def replace_blanks(text: str) -> str:
    """Return text with every space separator (Zs) as U+0020. Line ends and tabs are no separators."""
    if text.isascii():
        return text
    return "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)


# ---- what is wrong with text -------------------------------------------------------------------------------


def find_problem(text: str, maximum: int, minimum: int = 1) -> str | None:
    """Return what is wrong with text in its normal form, in words that follow the name of the field.

    None where nothing is. Text without a visible character counts as empty.
    """
    limits = f"{minimum} to {maximum}" if minimum else f"at most {maximum}"
    if found := find_forbidden(text):
        return f"must be printable text of {limits} characters, without {found}"
    is_good = minimum <= len(text) <= maximum and (not text or is_visible(text))
    return None if is_good else f"must be printable text of {limits} characters"


def find_forbidden(text: str) -> str:
    """Return the first forbidden character as `U+202E`, because it cannot be seen; "" for none."""
    found = FORBIDDEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def replace_forbidden(text: str) -> str:
    """Return text for a terminal: with a question mark for each forbidden character."""
    return FORBIDDEN.sub("?", text)


def is_visible(text: str) -> bool:
    """Return whether text has a visible character."""
    return any(
        character not in BLANK and unicodedata.category(character) not in ("Zs", "Cf", "Cc")
        for character in text
    )


# ---- passwords ---------------------------------------------------------------------------------------------


def normalize_password(text: str, maximum: int) -> str:
    """Return a password in its normal form (RFC 8265 §4.2): NFC, with U+0020 as the only blank.

    Nothing is trimmed; case and width stay.
    """
    if text.isascii() or len(text) > maximum * MOST_TO_ONE:
        return text
    return unicodedata.normalize("NFC", replace_blanks(text))


# ---- addresses ---------------------------------------------------------------------------------------------


def normalize_address(text: str) -> str | None:
    """Return the form in which an address is stored, or None for text that is no address.

    Users sign in with it, so its case does not matter. The local part is normalised as a UsernameCaseMapped
    (RFC 8265 §3.3), with the characters of RFC 6531. The domain is in Unicode (IDNA 2008), also where it was
    typed as `xn--…`. It may have a single label.
    """
    parts = split_address(text)
    return None if parts is None else join_address(map_width(parts[0]), parts[1])


def find_stored_forms(text: str) -> tuple[str, ...]:
    """Return the forms in which an address may be stored, the present one first; () for no address.

    Older versions stored full-width local parts as they were typed.
    """
    parts = split_address(text)
    if parts is None:
        return ()
    forms = (join_address(map_width(parts[0]), parts[1]), join_address(parts[0], parts[1]))
    return tuple(dict.fromkeys(form for form in forms if form is not None))


def split_address(text: str) -> tuple[str, str] | None:
    """Return the local part as it was typed, and the domain in its normal form; None for no address."""
    text = replace_blanks(text[: ADDRESS_LENGTH * MOST_TO_ONE + 1]).strip(AROUND_AN_ADDRESS)
    if len(text) > ADDRESS_LENGTH * MOST_TO_ONE:
        return None
    local_part, _at, domain = text.rpartition("@" if "@" in text else "\uff20")
    normal = normalize_domain(domain)
    return None if normal is None else (local_part, normal)


def join_address(local_part: str, domain: str) -> str | None:
    """Return the address of a local part and a normalised domain; None where they make none."""
    local_part = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local_part).lower())
    whole = f"{local_part}@{domain}"
    if not is_local_part(local_part) or len(whole.encode()) > ADDRESS_LENGTH:
        return None
    return whole


def is_local_part(text: str) -> bool:
    """Return whether text is a local part that is no quoted string.

    It may have no invisible characters except joiners, because users must be able to tell addresses apart.
    """
    if LOCAL_PART.fullmatch(text) is None or unicodedata.category(text[0])[0] == "M":
        return False
    return all(unicodedata.category(character)[0] in "LMNPS" for character in JOINERS.sub("", text))


def map_width(text: str) -> str:
    """Return text with the usual characters for full-width and half-width ones (RFC 8265 §3.3.2)."""
    return "".join(map_character(character) for character in text)


def map_character(character: str) -> str:
    """Return the usual character for a full-width or half-width one, and any other unchanged."""
    kind, _blank, code_point = unicodedata.decomposition(character).partition(" ")
    return chr(int(code_point, 16)) if kind in ("<wide>", "<narrow>") else character


def normalize_domain(text: str) -> str | None:
    """Return a domain in its normal form, or None where it is no domain.

    `email_validator` refuses joiners, which IDNA 2008 allows between some letters. So a domain with joiners
    is checked by `idna`, and by `email_validator` without them.
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
