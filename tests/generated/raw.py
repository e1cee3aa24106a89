"""A request as bytes, which no HTTP client has put in order, and its answer: straight to the WSGI app, or
over a socket.

`Parts` are what a request is made of before it is encoded; `ways.py` changes them.
"""

import io
import json
from dataclasses import dataclass, replace
from urllib.parse import quote_from_bytes, unquote_to_bytes

from werkzeug.datastructures import Headers
from werkzeug.test import run_wsgi_app

FORM = b"application/x-www-form-urlencoded"
BOUNDARY = b"boundary"
ADDRESS = "127.0.0.1"
NOT_IN_A_HEADER = bytes.maketrans(b"\r\n\0", b"   ")  # no server hands these on


@dataclass(frozen=True)
class RawRequest:
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def __str__(self):
        """Short enough to be read in a report: what is long is cut."""
        headers = [b"%s: %s" % header for header in self.headers]
        return "\n".join(repr(line[:300]) for line in [self.method + b" " + self.target, *headers, self.body])

    def environ(self):
        """What a WSGI server makes of it."""
        path, _question_mark, query = self.target.partition(b"?")
        environ = {
            "REQUEST_METHOD": self.method.decode("latin-1"),
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "REQUEST_URI": self.target.decode("latin-1"),
            "RAW_URI": self.target.decode("latin-1"),
            "SERVER_NAME": ADDRESS,
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": ADDRESS,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers:
            key = name.decode("latin-1").upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            text = value.translate(NOT_IN_A_HEADER).decode("latin-1").strip()
            environ[key] = f"{environ[key]},{text}" if key in environ else text
        return environ

    def wire(self):
        """What goes over a socket.

        Nothing is escaped, so a value may end its line and begin another request.
        """
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target)]
        lines += [b"%s: %s" % header for header in self.headers]
        return b"\r\n".join([*lines, b"", self.body])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes

    def __str__(self):
        return "\n".join(
            [
                str(self.status),
                *(f"{name}: {text[:300]}" for name, text in self.headers),
                repr(self.body[:300]),
            ]
        )


def send(app, request):
    """The app's answer, without a server in between."""
    chunks, status, headers = run_wsgi_app(app, request.environ(), buffered=True)
    return Answer(int(status.split()[0]), headers, b"".join(chunks))


# ---- the parts of a request --------------------------------------------------------------------------------

Pairs = tuple[tuple[bytes, bytes | None], ...]  # None: a name without an equals sign


@dataclass(frozen=True)
class Parts:
    """A request that is right; one part of it is then changed."""

    method: bytes
    path: bytes
    query: Pairs = ()
    form: Pairs | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def request(self):
        return self.with_body(FORM, urlencoded(self.form or ()) if self.form is not None else b"")

    def with_body(self, content_type, body):
        target = self.path + (b"?" + urlencoded(self.query) if self.query else b"")
        headers = dict(self.headers)
        if self.form is not None or body:
            headers.setdefault(b"Content-Type", content_type)
            headers.setdefault(b"Content-Length", str(len(body)).encode())
        return RawRequest(self.method, target, tuple(headers.items()), body)

    def with_header(self, name, lines):
        """The request with these lines in place of the header, each a value; none for a header that is left
        out.
        """
        request = self.request()
        others = tuple(header for header in request.headers if header[0] != name)
        return replace(request, headers=(*others, *((name, line) for line in lines)))

    def header(self, name):
        return dict(self.request().headers).get(name, b"")


def pairs(values):
    return tuple(
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in values.items()
    )


def urlencoded(pairs):
    return b"&".join(
        quoted(name) if value is None else quoted(name) + b"=" + quoted(value) for name, value in pairs
    )


def quoted(text):
    return quote_from_bytes(text, safe="").encode()


def multipart(pairs):
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (BOUNDARY, name, value or b"")
        for name, value in pairs
    ]
    return b"".join([*parts, b"--%s--\r\n" % BOUNDARY])


def as_json(pairs):
    return json.dumps({text(name): text(value or b"") for name, value in pairs}).encode()


def text(value):
    return value.decode("utf-8", "surrogateescape")
