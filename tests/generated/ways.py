"""Ways to put a value into a request: where a parameter belongs and where it does not, and into each header
by its grammar.

Each way to place a parameter takes the parts of a right request and returns the request to send; ways for
headers and paths return what to put there.
"""

from base64 import b64encode
from dataclasses import replace

from tests.generated.raw import BOUNDARY, FORM, as_json, multipart, urlencoded

# ---- parameters: way(parts, place, name, value); `place` is "query" or "form" ------------------------------


def instead(parts, place, name, value):
    return with_values(parts, place, name, value).request()


def after_the_right_one(parts, place, name, value):
    return with_values(parts, place, name, right(parts, place, name) + value).request()


def before_the_right_one(parts, place, name, value):
    return with_values(parts, place, name, value + right(parts, place, name)).request()


def over_the_end_of_the_right_one(parts, place, name, value):
    """As long as the right one: a token keeps the part that finds its row."""
    kept = right(parts, place, name)
    short = value[: len(kept) // 4]
    return with_values(parts, place, name, kept[: len(kept) - len(short)] + short).request()


def twice(parts, place, name, value):
    return with_values(parts, place, name, right(parts, place, name), value).request()


def twice_the_other_way_round(parts, place, name, value):
    return with_values(parts, place, name, value, right(parts, place, name)).request()


def left_out(parts, place, name, value):
    return with_values(parts, place, name).request()


def without_equals_sign(parts, place, name, value):
    return with_values(parts, place, name, None).request()


def with_brackets(parts, place, name, value):
    return added(with_values(parts, place, name), place, name + b"[a][b]", value).request()


def as_a_name(parts, place, name, value):
    return added(with_values(parts, place, name), place, value, b"1").request()


def in_the_other_place(parts, place, name, value):
    return moved(parts, place, name, value).request()


def in_both_places(parts, place, name, value):
    other = "form" if place == "query" else "query"
    return added(parts, other, name, value).request()


def in_json(parts, place, name, value):
    return into_body(parts, place, name, value, b"application/json", as_json)


def in_multipart(parts, place, name, value):
    return into_body(parts, place, name, value, b"multipart/form-data; boundary=" + BOUNDARY, multipart)


def under_a_wrong_content_type(parts, place, name, value):
    return into_body(parts, place, name, value, b"text/plain", urlencoded)


def under_a_content_type_with_a_charset(parts, place, name, value):
    return into_body(parts, place, name, value, FORM + b"; charset=utf-16", urlencoded)


OTHER_WAYS = [
    after_the_right_one,
    before_the_right_one,
    over_the_end_of_the_right_one,
    twice,
    twice_the_other_way_round,
    left_out,
    without_equals_sign,
    with_brackets,
    as_a_name,
    in_the_other_place,
    in_both_places,
    in_json,
    in_multipart,
    under_a_wrong_content_type,
    under_a_content_type_with_a_charset,
]


def pairs_of(parts, place):
    return getattr(parts, place) or ()


def right(parts, place, name):
    return dict(pairs_of(parts, place)).get(name) or b""


def with_values(parts, place, name, *values):
    """The parts with these values of the parameter and no others."""
    others = tuple(pair for pair in pairs_of(parts, place) if pair[0] != name)
    return replace(parts, **{place: (*others, *((name, value) for value in values))})


def added(parts, place, name, value):
    return replace(parts, **{place: (*pairs_of(parts, place), (name, value))})


def moved(parts, place, name, value):
    other = "form" if place == "query" else "query"
    return added(with_values(parts, place, name), other, name, value)


def into_body(parts, place, name, value, content_type, encode):
    """The parameter in a body of this type, with all that was in the form."""
    changed = with_values(parts, "form", name, value) if place == "form" else moved(parts, place, name, value)
    return changed.with_body(content_type, encode(changed.form))


# ---- headers: each way is a function from the right value and the hostile one to the lines to send ---------


def basic(user_pass):
    return b"Basic " + b64encode(user_pass)


def by_grammar(*patterns):
    """Ways from patterns in which %s is the hostile value."""
    return [lambda right, value, pattern=pattern: [pattern.replace(b"%s", value)] for pattern in patterns]


ANY = [
    lambda right, value: [value],
    lambda right, value: [right + value],
    lambda right, value: [value + right],
    lambda right, value: [right, value],
    lambda right, value: [],
]
AUTHORIZATION = [
    lambda right, value: [b"Basic " + value],
    lambda right, value: [basic(value)],
    lambda right, value: [basic(value + b":" + value)],
    lambda right, value: [basic(b"web:" + value)],
    lambda right, value: [b"Basic " + b64encode(value).rstrip(b"=") + b"!"],
    lambda right, value: [b"Basic"],
    lambda right, value: [b"bAsIc  " + b64encode(b"web:" + value)],
    lambda right, value: [b"Bearer " + value],
    lambda right, value: [b"Bearer", b"Bearer " + value],
    lambda right, value: [b"Bearer ost_at_" + value],
    lambda right, value: [b"DPoP " + value],
    lambda right, value: [b'Digest username="' + value + b'"'],
]
COOKIE = [
    lambda right, value: [session_name(right) + b"=" + value],
    lambda right, value: [session_name(right) + b"=" + value + b"; " + right],
    lambda right, value: [right + b"; " + session_name(right) + b"=" + value],
    lambda right, value: [right, session_name(right) + b"=" + value],
    lambda right, value: [session_name(right) + b'="' + value + b'"'],
    lambda right, value: [b"=" + value + b"; " + right],
    lambda right, value: [b";;=;" + value + b";" + right],
    lambda right, value: [session_name(right) + b"=" + (value + b"x" * 8_192)[:8_192]],
    lambda right, value: [session_name(right) + b"-device=" + value + b"; " + right],
    lambda right, value: [
        session_name(right) + b"-device=" + known_device(value) + b"~" + value + b"; " + right
    ],
    lambda right, value: [b"remember_token=1|" + value + b"; " + right],
    lambda right, value: [right + b"; " + value + b"=1"],
]


def session_name(right):
    """The name of the session cookie, from a Cookie header that has it."""
    return right.partition(b"=")[0] or b"__Host-ostiary"


def known_device(value):
    """In the form of an entry of the cookie of known devices: 22 characters, a dot, 43 more."""
    return (value + b"n" * 22)[:22] + b"." + (value + b"m" * 43)[:43]


HEADERS = {
    b"Authorization": [*ANY, *AUTHORIZATION],
    b"Cookie": [*ANY, *COOKIE],
    b"Host": [
        *ANY,
        *by_grammar(
            b"op.example:%s", b"%s@op.example", b"[%s]", b"op.example.", b"op.example/%s", b"OP.EXAMPLE"
        ),
    ],
    b"Origin": [
        *ANY,
        *by_grammar(
            b"https://%s",
            b"https://spa.example:%s",
            b"https://spa.example.%s",
            b"https://spa.example",
            b"null",
        ),
    ],
    b"Sec-Fetch-Site": [*ANY, *by_grammar(b"cross-site", b"same-origin, %s")],
    b"Content-Type": [
        *ANY,
        *by_grammar(
            b"application/x-www-form-urlencoded; charset=%s",
            b'application/x-www-form-urlencoded; charset="%s',
            b"application/x-www-form-urlencoded, %s",
            b"multipart/form-data; boundary=%s",
            b"multipart/form-data",
            b"application/json; %s",
        ),
    ],
    b"Content-Length": [*ANY, *by_grammar(b"-1", b"1%s", b"0x10", b"+5", b"999999999", b"5, 5")],
    b"Transfer-Encoding": [*ANY, *by_grammar(b"chunked", b"chunked, %s", b"gzip")],
    b"User-Agent": ANY,
    b"Connection": [*ANY, *by_grammar(b"close, %s", b"upgrade")],
    b"Forwarded": [*ANY, *by_grammar(b"for=%s;proto=https", b'for="[%s]";host=%s')],
    b"X-Forwarded-For": [
        *ANY,
        *by_grammar(b"192.0.2.1, %s", b"%s, 192.0.2.1", b"[2001:db8::%s]", b"[::1", b"192.0.2.1:%s"),
    ],
    b"X-Forwarded-Proto": [*ANY, *by_grammar(b"https, %s", b"%s, https")],
    b"X-Forwarded-Host": [*ANY, *by_grammar(b"op.example, %s", b"%s:443")],
    b"X-Forwarded-Port": ANY,
    b"X-Forwarded-Prefix": ANY,
    b"Access-Control-Request-Method": [*ANY, *by_grammar(b"POST")],
    b"Access-Control-Request-Headers": [*ANY, *by_grammar(b"content-type,%s", b"cookie,%s", b",,%s,")],
}
HEADERS_OF_INTROSPECTION = {
    b"Accept": [
        *ANY,
        *by_grammar(
            b"application/token-introspection+jwt;q=%s",
            b"application/token-introspection+jwt, application/json;q=%s",
            b'application/*; a="%s',
            b"*/*;q=1e400, %s",
        ),
    ]
}
HEADERS_OF_FORMS = {b"X-Csrftoken": ANY, b"X-Csrf-Token": ANY}
DATE = by_grammar(
    b"Mon, 99 %s 2000",
    b"Thu, 01 Jan 1970 00:00:00 %s",
    b"%s Jan 1 0:0",
    b"1 Jan 1 0:0 +9999999999999",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
    b'"%s"',
    b'W/"%s", *',
    b"*",
)
HEADERS_OF_FILES = {
    **dict.fromkeys([b"If-None-Match", b"If-Match", b"If-Range"], [*ANY, *DATE]),
    **dict.fromkeys([b"If-Modified-Since", b"If-Unmodified-Since"], [*ANY, *DATE]),
    b"Range": [
        *ANY,
        *by_grammar(b"bytes=%s", b"bytes=0-%s", b"bytes=-%s", b"bytes=5-1,%s", b"bytes=999999-", b"%s=0-1"),
    ],
}

UNREAD_HEADERS = {  # no view reads these, and a test says so
    b"Accept-Language": [*ANY, *by_grammar(b"%s;q=1e400", b"en;q=%s", b"en,%s;q=NaN")],
    b"Referer": [*ANY, *by_grammar(b"https://op.example/%s", b"https://[%s", b"//%s")],
    b"X-Real-Ip": ANY,
    b"X-Http-Method-Override": ANY,
}


def one_way_each(ways, values):
    """Each value in one of the ways, and each way with one of the values: pairs of way and kind."""
    kinds = list(values)
    return [(ways[n % len(ways)], kinds[n % len(kinds)]) for n in range(max(len(ways), len(kinds)))]


# ---- paths -------------------------------------------------------------------------------------------------


def spoiled_path(change):
    """A way from a function of the path, what stands before and after its last slash, and the value,
    percent-encoded.
    """

    def way(path, value):
        before, after = path.rpartition(b"/")[::2]
        return change(path, before, after, value)

    return way


PATHS = [
    spoiled_path(change)
    for change in (
        lambda path, before, after, value: path + b"/" + value,
        lambda path, before, after, value: path + value,
        lambda path, before, after, value: before + b"/" + value,
        lambda path, before, after, value: b"/" + value,
        lambda path, before, after, value: b"//" + value + path,
        lambda path, before, after, value: path + b"/../" + value,
        lambda path, before, after, value: path + b"%00" + value,
        lambda path, before, after, value: path + b";" + value,
        lambda path, before, after, value: path + b"?" + value + b"=" + value + b"&" + value,
        lambda path, before, after, value: path + b"?%" + value + b"&%",
        lambda path, before, after, value: b"?" + value,
        lambda path, before, after, value: path + b"%00",
        lambda path, before, after, value: path + b"/",
        lambda path, before, after, value: path + b"//",
        lambda path, before, after, value: b"/" + path,
        lambda path, before, after, value: before + b"//" + after,
        lambda path, before, after, value: before + b"/./" + after,
        lambda path, before, after, value: before + b"/../" + after,
        lambda path, before, after, value: before + b"/%2e%2e/" + after,
        lambda path, before, after, value: path.replace(b"/", b"%2f"),
        lambda path, before, after, value: b"/" + path[1:].replace(b"/", b"%2F"),
        lambda path, before, after, value: b"".join(b"%%%02x" % byte for byte in path),
        lambda path, before, after, value: path + b"%0d%0aSet-Cookie:%20planted=1",
        lambda path, before, after, value: path + b"%ff%fe",
        lambda path, before, after, value: path + b"%",
        lambda path, before, after, value: path + b"%zz",
        lambda path, before, after, value: path + b"/" + b"x" * 6_000,
        lambda path, before, after, value: path + b"/a" * 2_000,
        lambda path, before, after, value: path + b"?" + b"&" * 1_000,
        lambda path, before, after, value: path.upper(),
    )
]
