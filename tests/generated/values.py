"""Hostile values of ten named kinds, as the bytes that arrive after percent-decoding: Hypothesis strategies.

`ten_values()` draws one of each kind, so that however few examples a test has, every kind is in it. Most
values have random letters in them, so that a copy of one is recognised wherever it turns up.
"""

from hypothesis import strategies as st

WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8).map(str.encode)
LIMITS = [4_096, 8_192, 65_536]  # of parameters, of gunicorn's lines, of a body


def amid_words(core):
    """`core` with letters on both sides."""
    return st.builds(lambda before, middle, after: before + middle + after, WORD, core, WORD)


def as_utf8(text):
    return text.encode("utf-8", "surrogatepass")


def repeated(unit, length):
    return (unit * (length // len(unit) + 1))[:length]


def brackets(opening, closing, depth):
    return opening * depth + closing * depth


EMPTY = st.sampled_from(["", " ", "   ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u2800"]).map(as_utf8)

LENGTH = st.integers(300, 9_000)
HUGE = st.builds(
    repeated,
    st.sampled_from(["a", "a b ", "%", "9", "&=", "é", "𝒜", '"', "a."]).map(as_utf8) | WORD,
    st.one_of(
        LENGTH, LENGTH, LENGTH, st.sampled_from([limit + step for limit in LIMITS for step in (-1, 0, 1)])
    ),
)

CONTROL = amid_words(
    st.text(
        st.sampled_from(
            [chr(code) for code in (*range(1, 32), *range(127, 160))] + list("\u2028\u2029\u202e\u2066")
        ),
        min_size=1,
        max_size=12,
    ).map(as_utf8)
    | st.sampled_from(
        [b"\r\nSet-Cookie: planted=1", b"\r\n\r\n<html>", b"\nLocation: //evil.example", b"\x1b[2J"]
    )
)

NUL = st.one_of(
    amid_words(st.just(b"\0")),
    WORD.map(lambda word: b"\0" + word),
    WORD.map(lambda word: word + b"\0"),
    st.integers(1, 40).map(lambda count: b"\0" * count),
)

SURROGATE = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])
LONE_SURROGATE = amid_words(st.text(SURROGATE, min_size=1, max_size=4).map(as_utf8)) | SURROGATE.map(as_utf8)

NOT_UTF8 = amid_words(
    st.sampled_from(
        [b"\xff", b"\xfe\xff", b"\xc0\xaf", b"\xe2\x82", b"\xf5\x80\x80\x80", b"\x80", b"\xc3", b"\xe0\x80"]
    )
    | st.binary(min_size=1, max_size=8).map(lambda tail: b"\xff" + tail)
)

QUOTES = amid_words(
    st.text("'\"`\\<>&;%$#", min_size=1, max_size=12).map(str.encode)
    | st.sampled_from(
        [
            b"' OR '1'='1",
            b"'; DROP TABLE token;--",
            b'"><script>alert(1)</script>',
            b"<img src=x onerror=y>",
            b"{{ 7*7 }}",
            b"${7*7}",
            b"%s%n%x",
            b"%(asctime)s",
            b"../../etc/passwd",
            b"\\\\host\\share",
        ]
    )
)

LOOK_ALIKE = amid_words(
    st.sampled_from(
        [
            "\u0435xample.com",  # Cyrillic
            "https://\u0430pp.example/cb",
            "xn--80ak6aa92e.com",
            "xn--\u00e4",
            "\uff57\uff45\uff42",  # full width
            "\uff0f\uff0foper.example",
            "adm\u0131n",
            "\u212aelvin",
            "\u017fcope",
            "a\u0301da",  # combining, beside the composed one
            "\u00e1da",
            "we\u200db",
            "ada\uff20example.com",
            "ada@\u1e9e.example",
            "\u05d0\u05d1",
            "e\u0300" * 60,
        ]
    ).map(as_utf8)
)

NUMBER = st.one_of(
    st.text("123456789", min_size=99, max_size=99).map(str.encode),
    st.integers(-(2**130), 2**130).map(lambda number: str(number).encode()),
    st.sampled_from(
        "0 -0 -1 +1 00 1e400 -1e400 1e-400 NaN nan -NaN Infinity inf 0x7fffffff 0b1 1_000 1,000 1.0"
        " .5 2147483648"
        " -2147483649 9223372036854775808 18446744073709551616".split()
    ).map(str.encode),
    # digits to str.isdigit and \d
    st.sampled_from(["\u0661\u0662\u0663", "\u00b2", "\u2167", "\u096a"]).map(as_utf8),
)

NESTED = st.one_of(
    st.builds(
        brackets,
        st.sampled_from([b"[", b"{", b"(", b'{"a":', b'["', b"<a>", b"a["]),
        st.sampled_from([b"]", b"}", b")", b"", b"</a>"]),
        st.integers(1, 3_000),
    ),
    amid_words(
        st.sampled_from(
            [
                b"[a][b]=c",
                b"[]",
                b"[$ne]",
                b'{"$gt": ""}',
                b'{"a": {"a": [[[{}]]]}}',
                b'["web", "spa"]',
                b"a=1&b=2&c[d][e]=3",
                b"__proto__[x]=1",
                b"null",
                b'{"email": null}',
                b"%5Ba%5D%5Bb%5D%3Dc",
                b"%2525252e",
            ]
        )
    ),
)

KINDS = {
    "empty": EMPTY,
    "huge": HUGE,
    "control": CONTROL,
    "NUL": NUL,
    "lone surrogate": LONE_SURROGATE,
    "not UTF-8": NOT_UTF8,
    "quotes": QUOTES,
    "look-alike": LOOK_ALIKE,
    "number": NUMBER,
    "nested": NESTED,
}


class Values(dict):
    """Values by the names of their kinds, cut where a report shows them."""

    def __repr__(self):
        return repr({kind: value[:200] for kind, value in self.items()})


def ten_values():
    """One value of each kind; never the simplest of all, which would be half of what a short form tries."""
    values = st.fixed_dictionaries(KINDS).map(Values)
    return values.filter(lambda values: not values["quotes"].startswith(b"aaa"))
