"""A browser without scripts, in the standard library: keeps cookies, follows redirects, fills in forms."""

from html.parser import HTMLParser
from http.client import HTTPMessage
from typing import IO, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

ANSWER_SECONDS = 30


class Form(NamedTuple):
    """A form of a page: where it is sent, and its fields with what they hold."""

    url: str
    fields: dict[str, str]


class Page(HTMLParser):
    """An answer: its status, its text, its forms, and where it leads outside of the issuer."""

    def __init__(self, url: str, status: int, location: str | None, text: str) -> None:
        super().__init__()
        self.url, self.status, self.location, self.text = url, status, location, text
        self.forms: list[Form] = []
        self._words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a form, or a field of the form that was opened last."""
        attributes = dict(attrs)
        name = attributes.get("name")
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, attributes.get("action") or ""), {}))
        elif tag in ("input", "button") and name and self.forms:
            self.forms[-1].fields[name] = attributes.get("value") or ""

    def handle_data(self, data: str) -> None:
        """Remember the words that a person reads."""
        self._words += data.split()

    def words(self) -> str:
        """Return what a person reads, on one line."""
        return " ".join(self._words)

    def form_with(self, name: str) -> Form | None:
        """Return the first form that has a field of this name."""
        return next((form for form in self.forms if name in form.fields), None)


class Browser:
    """A browser that keeps cookies, follows redirects within the issuer and no further, and asks no proxy."""

    def __init__(self, issuer: str) -> None:
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(), StayAtIssuer(issuer))

    def open(self, url: str, fields: dict[str, str] | None = None) -> Page:
        """GET a page, or POST `fields` to it. Raises OSError where there is no answer; any status is one."""
        body = None if fields is None else urlencode(fields).encode()
        try:
            answer = self._opener.open(url, body, ANSWER_SECONDS)
        except HTTPError as error:
            answer = error
        with answer:
            location = answer.headers.get("Location")
            return Page(answer.url, answer.status, location, answer.read().decode("utf-8", "replace"))


class StayAtIssuer(HTTPRedirectHandler):
    """Follows a redirect to an address of the issuer; any other redirect is the answer."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the next request, or None outside of the issuer."""
        is_inside = newurl.startswith(f"{self._issuer}/")
        return super().redirect_request(req, fp, code, msg, headers, newurl) if is_inside else None
