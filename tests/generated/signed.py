"""Hostile values as JSON, and their places in what is signed or asked for in JSON: request objects,
assertions, `claims`.

A value in a token that was signed with the right key gets past the signature, to everything that reads it.
`bend` signs the token again after the change. `BENT_TOKENS` are ways to spoil one without a key.
"""

import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import strategies as st
from joserfc.jws import JWSRegistry

from protocol import clock
from protocol.parameters import AUTHORIZATION, HINTS
from tests import jose
from tests.builders import CLIENT_SECRET
from tests.generated.values import KINDS


class JsonValue(NamedTuple):
    """A JSON text, perhaps no proper one, and what a copy of it would hold."""

    text: str
    sent: bytes


def as_json_text(value):
    """A JSON string. Bytes that are no UTF-8 cannot be in one; lone surrogates can."""
    try:
        text = value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return JsonValue(json.dumps(text), value)


def literal(text):
    words = re.findall("[a-h]{8,}", text)
    return JsonValue(text, (words or [text])[0].encode())


def address(value):
    """In the form of an address: looked up, and shown at the sign-in."""
    return as_json_text(value[:200] + b"@example.com")._replace(sent=value[:200])


def nested(brackets, depth, inside):
    opening, closing = brackets
    return opening * depth + inside + closing * depth


LETTERS = st.text("abcdefgh", min_size=8, max_size=12)
BRACKETS = st.sampled_from([("[", "]"), ('{"a":', "}")])
INSIDE = LETTERS.map(json.dumps)
HUGE = st.integers(310, 4_000).map(lambda digits: "9" * digits)  # more than a float can be
FRACTION = st.floats(allow_nan=False, allow_infinity=False).map(repr)
ODD_KINDS = {
    "address": st.one_of(*KINDS.values()).map(address),
    "address with half a character": KINDS["lone surrogate"].map(address),
    "huge": HUGE.map(literal),
    "hugely negative": HUGE.map(lambda digits: literal("-" + digits)),
    "integer": st.integers(-(2**40), 2**40).map(str).map(literal),
    "fraction": FRACTION.map(literal),
    "soon": st.integers(0, 600).map(lambda seconds: literal(f"{clock.now() + seconds}.5")),
    "no number": st.sampled_from(["NaN", "-Infinity", "1e999", "-1e999", "0x10", "1_000", "01"]).map(literal),
    "word": st.sampled_from(["null", "true", "false", "[]", "{}", '""', "[null]", '[""]', "{}{}"]).map(
        literal
    ),
    "list": st.lists(INSIDE, min_size=1, max_size=150).map(lambda texts: literal(f"[{','.join(texts)}]")),
    "object": INSIDE.map(lambda text: literal(f'{{"essential": true, "value": {text}, "values": [{text}]}}')),
    "nested": st.builds(nested, BRACKETS, st.integers(2, 12), INSIDE).map(literal),
    "deeply nested": st.builds(nested, BRACKETS, st.integers(500, 900), INSIDE).map(literal),
    # Hypothesis lets code recurse twice as deeply as it may in a server.
    "more deeply nested": st.builds(nested, st.just(("[", "]")), st.integers(1_100, 1_800), INSIDE).map(
        literal
    ),
    "doubled member": LETTERS.map(lambda name: literal(f'1, "{name}": 2, "{name}": 3')),
}


def json_values():
    """A JSON value of each kind: text of the ten kinds, and what else JSON has."""
    texts = {f"text, {kind}": values.map(as_json_text) for kind, values in KINDS.items()}
    return st.fixed_dictionaries(texts | ODD_KINDS)


# ---- places ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a value goes: into a member of a token's claims or header, or to `%s` in a JSON text."""

    name: bytes
    pattern: str = "%s"
    is_header: bool = False

    def __str__(self):
        return f"{'header ' if self.is_header else ''}{self.name.decode()} {self.pattern}"

    def fill(self, text):
        return self.pattern.replace("%s", text)


def places(names, **rest):
    return [Place(name.encode(), **rest) for name in sorted(names)]


TIMES_AND_NAMES = frozenset("iss sub aud exp nbf iat jti".split())
CLAIMS_OF_REQUESTS = places(AUTHORIZATION | HINTS | TIMES_AND_NAMES)
CLAIMS_OF_ASSERTIONS = places(TIMES_AND_NAMES)
HEADERS_OF_TOKENS = places("alg typ kid crit b64 cty jwk jku x5c zip enc".split(), is_header=True)
JSON_PLACES = [
    Place(b"claims", pattern)
    for pattern in (
        "%s",
        '{"id_token": %s}',
        '{%s: null, "id_token": {%s: null}}',
        '{"id_token": {"name": %s}}',
        '{"userinfo": {"email": {"essential": %s}}}',
        '{"userinfo": {"email": {"value": %s}}}',
        '{"userinfo": {"email": {"values": [%s]}}}',
        '{"id_token": {"sub": {"value": %s}}}',
        '{"userinfo": {"sub": {"values": %s}}}',
        '{"id_token": {"acr": {"essential": true, "value": %s}}}',
        '{"id_token": {"acr": {"essential": true, "values": %s}}}',
    )
]


def bend(token, place, text):
    """The token with this text as the value of one member, signed with the key that had signed it."""
    header, claims = [json.loads(urlsafe_b64decode(segment + "==")) for segment in token.split(".")[:2]]
    alg = header["alg"]
    key = jose.secret_key(CLIENT_SECRET) if alg == "HS256" else jose.key_for(alg)
    texts = [json.dumps(header), json.dumps(claims)]
    number = 0 if place.is_header else 1
    texts[number] = with_member([header, claims][number], place, text)
    signed = ".".join(map(jose.segment, texts))
    return f"{signed}.{jose.segment(JWSRegistry.algorithms[alg].sign(signed.encode(), key))}"


def with_member(members, place, text):
    others = {name: value for name, value in members.items() if name != place.name.decode()}
    return f'{json.dumps(others)[:-1]}, "{place.name.decode()}": {place.fill(text)}}}'


# ---- without a key: from a token and a value to what is sent -----------------------------------------------


def with_segment(number, change):
    """A way that puts something else in place of a segment."""

    def way(token, value):
        segments = token.split(b".")
        segments[number] = change(segments[number], value)
        return b".".join(segments)

    return way


def encoded(value):
    return jose.segment(value).encode()


BENT_TOKENS = {
    f"{name} of segment {number}": with_segment(number, change)
    for name, change in {
        "value in place": lambda segment, value: value,
        "encoded value in place": lambda segment, value: encoded(value),
        "value at the end": lambda segment, value: segment + value,
        "value in the middle": lambda segment, value: (
            segment[: len(segment) // 2] + value + segment[len(segment) // 2 :]
        ),
        "encoded value over the start": lambda segment, value: (
            encoded(value) + segment[len(encoded(value)) :]
        ),
        "a string of JSON": lambda segment, value: encoded(as_json_text(value).text),
        "an object of JSON": lambda segment, value: encoded(
            f'{{"alg": "ES256", "iss": {as_json_text(value).text}}}'
        ),
    }.items()
    for number in range(3)
} | {
    "a fourth segment": lambda token, value: token + b"." + value,
    "five segments": lambda token, value: b".".join([token, encoded(value), value]),
    "two segments": lambda token, value: token.rpartition(b".")[0],
    "the value alone": lambda token, value: value,
}
