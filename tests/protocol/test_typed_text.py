"""Text that people type: which forms are the same, what is refused, and what a hostile text costs."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import parameters, typed_text
from services import passwords
from services.problems import Code, problem

PERSIAN = "علی\u200cرضا"
SINHALA = "ශ්\u200dරී"
MALAYALAM = "അവന്\u200d"
ASTRONAUT = "Ada 👩\u200d🚀"
VIETNAMESE = "Nguyễn Thị Ánh"
NAMES = {
    "Persian, ZWNJ": PERSIAN,
    "Sinhala, ZWJ": SINHALA,
    "Malayalam, ZWJ at the end": MALAYALAM,
    "Devanagari, ZWNJ": "क्\u200cष",
    "an emoji of three": ASTRONAUT,
    "a family of emoji": "👨\u200d👩\u200d👧\u200d👦",
    "a flag of tags": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "an emoji that the tables do not know": "\U0001faea",
    "a heart with a variation selector": "Ada ❤\ufe0f",
    "Arabic": "محمد عبد الله",
    "Arabic with a mark": "محمد\u061c (Ada)",
    "Hebrew with a mark": "\u200fשלום\u200e Ada",
    "Turkish": "Iğdır İbrahim ışık",
    "Hangul": "홍길동",
    "Thai": "สมชาย",
    "Latin with a joiner": "A\u200dda",
    "joiners in a row": "a\u200c\u200c\u200db",
    "a soft hyphen": "Ada\u00adLovelace",
    "a letter of private use": "Ada \uf8ff",
    "an apostrophe": "Aoife O’Brien",
    "German": "Groß",
}
SAME_NAMES = [
    (unicodedata.normalize("NFD", VIETNAMESE), VIETNAMESE),
    (unicodedata.normalize("NFD", "홍길동"), "홍길동"),
    ("ＡＤＡ　Ｌｏｖｅｌａｃｅ", "ADA Lovelace"),
    ("ｱﾀﾞ", "アダ"),
    ("  Ada \u00a0\u2003 Lovelace\u3000", "Ada Lovelace"),
    ("ﬁn", "fin"),
    ("ADA", "ADA"),
]
NO_CHARACTERS = [
    *map(chr, (0x00, 0x09, 0x0A, 0x0D, 0x1B, 0x7F, 0x80, 0x85, 0x9B, 0x9F)),
    *"\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    *"\ud800\udfff\ufdd0\ufdef\ufffe\uffff\U0001ffff\U0010fffe\U0010ffff",
]
BLANK = [
    "",
    " ",
    "\u00a0",
    "\u200d",
    "\u200c\u200b",
    "\u3164",
    "\u2800",
    "\u200e",
    "\ufeff",
    "\ufe0f",
    "\u115f\u1160",
]


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_a_name_stays_as_it_is_written(text):
    assert typed_text.normalize_name(text) == text
    assert typed_text.normalize_sentence(text, 300) == text
    assert typed_text.find_problem(text, typed_text.NAME_LENGTH) is None
    assert typed_text.replace_forbidden(text) == text
    assert parameters.is_usable(text)


@pytest.mark.parametrize(("typed", "kept"), SAME_NAMES, ids=ascii)
def test_names_that_are_the_same(typed, kept):
    assert typed_text.normalize_name(typed) == kept


def test_a_sentence_keeps_what_a_name_does_not():
    assert typed_text.normalize_sentence(" 100 m²\u00a0of Ostiary™… e\u0301 ", 300) == "100 m² of Ostiary™… é"
    assert typed_text.normalize_lines(" 12\u00a0Rue X \r\n\n75001 Paris", 300) == "12 Rue X\n\n75001 Paris"


@pytest.mark.threat("T117")
@pytest.mark.parametrize("character", NO_CHARACTERS, ids=ascii)
def test_what_is_refused_is_named_wherever_it_stands(character):
    for text in (character, f"{character}Ada", f"A{character}da", f"Ada{character}"):
        told = typed_text.find_problem(typed_text.normalize_name(text), 200, minimum=0)
        assert told.endswith(f"without U+{ord(character):04X}")
        assert told.isprintable()
        assert typed_text.normalize_address(f"a{text}@example.com") is None
        assert passwords.find_problem(text + "long enough") is not None
        assert not parameters.is_usable(text)
        assert character not in typed_text.normalize_label(text, 300) + typed_text.replace_forbidden(text)


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_a_name_that_shows_nothing_is_none(text):
    assert typed_text.find_problem(typed_text.normalize_name(text), 200) is not None
    assert (typed_text.find_problem(typed_text.normalize_name(text), 200, minimum=0) is None) == (
        not text.strip()
    )


def test_a_length_counts_in_the_form_that_is_kept():
    assert typed_text.find_problem(typed_text.normalize_name("e\u0301" * 200), 200) is None
    assert typed_text.find_problem(typed_text.normalize_name("ế" * 200), 200) is None
    assert (
        typed_text.find_problem(typed_text.normalize_name(unicodedata.normalize("NFD", "ế" * 200)), 200)
        is None
    )
    assert typed_text.find_problem(typed_text.normalize_name("\ufdfa" * 11), 200) is None
    for text in ("x" * 201, "\ufdfa" * 12, "\ufdfa" * 200, "x\u0301" * 101):
        assert (
            typed_text.find_problem(typed_text.normalize_name(text), 200)
            == "must be printable text of 1 to 200 characters"
        )


# ---- addresses ---------------------------------------------------------------------------------------------

PRIVATE = """corp.local srv.home.arpa local home.arpa x.lan nas.internal x.corp x.home
x.private x.test test localhost x.localhost intranet lab2 host.lab2 x.onion x.example example x.intra
x.alt""".split()
SAME_ADDRESSES = [
    (" Ada@Example.COM\u00a0", "ada@example.com"),
    ("\u200eada@example.com\u200f\t", "ada@example.com"),
    ("ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ada@example.com"),
    ("ada@example。com", "ada@example.com"),
    ("Bu\u0308cher@bu\u0308cher.example", "bücher@bücher.example"),
    ("u@XN--BCHER-KVA.example", "u@bücher.example"),
    (f"{PERSIAN}@نامه\u200cای.com", f"{PERSIAN}@نامه\u200cای.com"),
    ("u@xn--mgba3gch31f060k.com", "u@نامه\u200cای.com"),
    (f"u@{SINHALA}.com", f"u@{SINHALA}.com"),
    (f"{ASTRONAUT[4:]}@example.com", f"{ASTRONAUT[4:]}@example.com"),
    ("홍길동@예시.kr", "홍길동@예시.kr"),
    ("IŞIK@x.tr", "işik@x.tr"),
    ("ışık@x.tr", "ışık@x.tr"),
    ("İ@x.tr", "i\u0307@x.tr"),
    ("ΟΔΟΣ@x.gr", "οδος@x.gr"),
    ("o'brien+list/a=b@x.ie", "o'brien+list/a=b@x.ie"),
]
NO_ADDRESSES = """ada ada@ @example.com a@b@c.com a..b@x.com .a@x.com a.@x.com ada@.com ada@x.
ada@-x.com ada@x_y.com ada@x..com "ada"@x.com <ada@x.com> ada@[192.0.2.1] ada@192.0.2.1 ada@１２３
ada@x.invalid ada@invalid ada@xn--a ada@xn--0.com \u0301a@x.com a\u200eb@x.com ada@a\u200db.com
ada@\u200c.com a\ufeffb@x.com ada@a\u202eb.com ＠ ada﹫x.com""".split()


@pytest.mark.parametrize("domain", PRIVATE)
def test_networks_that_are_closed_have_people_too(domain):
    assert typed_text.normalize_address(f"Ada@{domain.upper()}") == f"ada@{domain}"


@pytest.mark.parametrize(("typed", "kept"), SAME_ADDRESSES, ids=ascii)
def test_addresses_that_are_the_same(typed, kept):
    assert typed_text.normalize_address(typed) == kept
    assert typed_text.normalize_address(kept) == kept


@pytest.mark.threat("T117")
@pytest.mark.parametrize(
    "text", [*NO_ADDRESSES, "", "a b@x.com", "a\u00a0b@x.com", "Ada <ada@x.com>", "ada@x.com\0"], ids=ascii
)
def test_what_is_no_address(text):
    assert typed_text.normalize_address(text) is None
    assert typed_text.find_stored_forms(text) == ()


def test_an_address_has_at_most_254_octets():
    assert typed_text.normalize_address("a" * 242 + "@example.com") is not None
    assert typed_text.normalize_address("a" * 243 + "@example.com") is None
    assert typed_text.normalize_address("é" * 121 + "@example.com") is not None
    assert typed_text.normalize_address("é" * 122 + "@example.com") is None
    assert typed_text.normalize_address("e\u0301" * 121 + "@example.com") == "é" * 121 + "@example.com"


def test_an_address_may_be_stored_in_its_older_form():
    """Full-width letters before the @ were kept."""
    assert typed_text.find_stored_forms("ａｄａ@Example.com") == ("ada@example.com", "ａｄａ@example.com")
    assert typed_text.find_stored_forms("Ada@example.com") == ("ada@example.com",)


# ---- passwords ---------------------------------------------------------------------------------------------


def test_a_password_is_the_same_on_every_keyboard():
    stored = passwords.hash_password("cafe\u0301 au\u00a0lait noir")
    assert passwords.find_form("café au lait noir", stored) == "café au lait noir"
    assert passwords.is_right("cafe\u0301 au\u3000lait noir", stored)
    for other in (
        " café au lait noir",
        "café au lait noir ",
        "CAFÉ AU LAIT NOIR",
        "ｃafé au lait noir",
        "café au  lait noir",
    ):
        assert not passwords.is_right(other, stored)


def test_a_password_is_measured_in_the_form_that_is_hashed():
    assert passwords.find_problem("e\u0301" * 11) == problem(Code.PASSWORD_TOO_SHORT, minimum=12)
    assert passwords.find_problem("e\u0301" * 12) is None
    assert passwords.find_problem(unicodedata.normalize("NFD", "ế") * 1_024) is None
    # becomes two
    assert passwords.find_problem("\u0958" * 513) == problem(Code.PASSWORD_TOO_LONG, maximum=1_024)
    # of a time when it was one
    assert passwords.is_right("\u0958" * 513, passwords.hash_password("\u0958" * 513))
    assert passwords.forms("\u0958" * 1_025) == passwords.forms("x" * 5_000) == [""]


# ---- what holds of all -------------------------------------------------------------------------------------

FORMS = {
    "name": typed_text.normalize_name,
    "words": lambda text: typed_text.normalize_sentence(text, 300),
    "lines": lambda text: typed_text.normalize_lines(text, 300),
    "label": lambda text: typed_text.normalize_label(text, 300),
    "password": lambda text: typed_text.normalize_password(text, 1_024),
}
TRICKY = "aA.İIıßΣσ-é'+e\u0301\u0323\u3000ａ．＠@ｶﾞ한\u1112\u1161\u11ab\u200c\u200d ﷺﬁ①\u1680\u00a8"
TEXTS = st.text(st.characters() | st.sampled_from(TRICKY), max_size=20)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS)
def test_a_form_is_its_own_form(text, domain):
    for form in FORMS.values():
        assert form(form(text)) == form(text)
    for typed in (f"{text}@example.com", f"{text}@{domain}"):
        address = typed_text.normalize_address(typed)
        assert (
            address is None
            or typed_text.normalize_address(address) == address == typed_text.find_stored_forms(typed)[0]
        )


HOSTILE = {
    "10,000 combining marks": "a" + "\u0316\u0301" * 5_000,
    "marks in the worst order": "a" + "".join(chr(0x0345) + "\u0301\u0316\u0345" * 3_300),
    "Arabic ligatures": "\ufdfa" * 200,
    "a million letters": "x" * 1_000_000,
    "a million blanks": "Ada" + "\u00a0" * 1_000_000,
    "ten thousand dots": "a." * 10_000,
    "labels": "a@" + "ü." * 5_000,
}


@pytest.mark.threat("T117")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_refused_in_no_time(text):
    begin = time.process_time()
    assert typed_text.find_problem(typed_text.normalize_name(text), 200) is not None
    assert len(typed_text.normalize_label(text, 300)) <= 300
    assert typed_text.normalize_address(text) is typed_text.normalize_address(f"{text}@example.com") is None
    assert len(text) == 200 or passwords.forms(text) == [""]
    assert time.process_time() - begin < 0.5
