"""A page as a person's program reads it: title, words, and forms with their fields and buttons.

Standard library only.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

VOID = {"br", "hr", "img", "input", "link", "meta"}


@dataclass
class Form:
    """A form with the values that its page gave it."""

    url: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str] | None] = field(default_factory=dict)  # its words → what it sends

    def filled(self, button, **values):
        """What a browser would send when `button` is pressed."""
        unknown = set(values) - set(self.fields)
        assert not unknown, f"the form has no field {unknown}"
        sent = self.fields | values
        if self.buttons[button] is not None:
            name, value = self.buttons[button]
            sent[name] = value
        return sent


class Page(HTMLParser):
    """`elements` holds every start tag with its attributes, in order; `open_tags` is empty for well-formed
    HTML.
    """

    def __init__(self, html, url="/"):
        super().__init__()
        self.url = url
        self.elements = []
        self.forms = []
        self.title = ""
        self.text = ""
        self.headings = []
        self.open_tags = []
        self.links = {}  # their words → where they lead
        self._button = None
        self._link = None
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open_tags.append(tag)
        if tag == "form":
            self.forms.append(
                Form(urljoin(self.url, attributes.get("action", "")), attributes.get("method", "get"))
            )
        elif tag == "input":
            self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")
        elif tag == "button":
            self._button = ((attributes["name"], attributes["value"]) if "name" in attributes else None, [])
        elif tag == "a":
            self._link = (attributes["href"], [])
        elif tag == "h1":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag
        if tag == "button":
            sends, words = self._button
            self.forms[-1].buttons["".join(words).strip()] = sends
            self._button = None
        if tag == "a":
            address, words = self._link
            self.links["".join(words).strip()] = urljoin(self.url, address)
            self._link = None

    def handle_data(self, data):
        if "title" in self.open_tags:
            self.title += data
            return
        self.text += data
        if self._button:
            self._button[1].append(data)
        if self._link:
            self._link[1].append(data)
        if "h1" in self.open_tags:
            self.headings[-1] += data

    def form(self, button):
        """The form that has this button."""
        found = [form for form in self.forms if button in form.buttons]
        assert len(found) == 1, f"{len(found)} forms with the button {button!r} on the page {self.title!r}"
        return found[0]

    def all(self, tag):
        """The attributes of every element of this kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def with_id(self, id):
        return [tag for tag, attributes in self.elements if attributes.get("id") == id]
