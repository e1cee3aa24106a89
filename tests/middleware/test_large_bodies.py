"""Bodies that are meant to cost: too long, too many fields, a length that is a lie. They are refused before
they are read.

`tests/flows/test_slow_clients.py` has those that come slowly or never end.
"""

import io
import time

import pytest

from middleware.endpoint_policy import MAXIMUM_BODY
from tests.builders import a_machine, basic

PATHS = [
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
    "/oauth/authorize",
    "/login",
    "/signup",
    "/logout",
]
FORM = "application/x-www-form-urlencoded"
MEGABYTE = 1024 * 1024


def multipart(parts, content="x"):
    """A body of so many parts, and its content type."""
    part = f'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n{content}\r\n'
    return part * parts + "--b--\r\n", "multipart/form-data; boundary=b"


LARGE = {
    "one field of a megabyte": ("password=" + "x" * MEGABYTE, FORM),
    "one byte too many": ("password=" + "x" * (MAXIMUM_BODY - 8), FORM),
    "a name of a megabyte": ("x" * MEGABYTE + "=", FORM),
    "a million fields": ("a=&" * 1_000_000, FORM),
    "a thousand and one parts": multipart(1_001),
    "one part of a megabyte": multipart(1, "x" * MEGABYTE),
}


@pytest.mark.threat("T165")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "content_type"), LARGE.values(), ids=LARGE)
def test_a_large_body_is_refused(http, path, body, content_type):
    assert http.post(path, data=body, content_type=content_type).status_code == 413


@pytest.mark.threat("T165")
@pytest.mark.parametrize("path", PATHS)
def test_a_length_of_100_megabytes_is_refused_before_a_byte_is_read(http, path):
    class NeverRead(io.BytesIO):
        def read(self, *size):
            raise AssertionError("the body was read")

        readline = read

    answer = http.post(
        path, content_type=FORM, input_stream=NeverRead(), environ_overrides={"CONTENT_LENGTH": "100000000"}
    )
    assert answer.status_code == 413


@pytest.mark.threat("T165")
@pytest.mark.parametrize(
    "body",
    [
        "&".join(f"f{number}=" for number in range(1_001)),
        "&" * 60_000,
        "=" * 60_000,
        "a&" * 30_000,
        "%" * 60_000,
        "%00" * 20_000,
    ],
    ids=lambda body: body[:8],
)
def test_many_fields_in_a_body_of_a_legal_size_cost_little(http, seed, body):
    """They fit into 64 kB and so are read; what they mean is refused as ever."""
    seed(a_machine())
    for path in PATHS:
        begin = time.process_time()
        assert http.post(path, data=body, content_type=FORM, auth=basic("robot")).status_code in (303, 400)
        assert time.process_time() - begin < 0.5
