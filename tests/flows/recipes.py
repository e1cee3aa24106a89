"""The recipes of docs/relying-parties.md, so that tests do what stands there.

Enters: a recipe's heading. Leaves: its one block of a language, and what its `flask clients add` registers.
`replaced` puts the addresses of a test in place of the document's.
"""

import json
import re
import shlex

from tests.live import PROJECT

DOCUMENT = (PROJECT / "docs/relying-parties.md").read_text()
OSTIARY = "https://login.example"
APPLICATION = "https://notes.example"


def recipe(heading):
    """The text under this heading."""
    [text] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    return text


def block(heading, language):
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", recipe(heading), re.MULTILINE | re.DOTALL)
    return text


def register(server, heading, address, *options):
    """Run the recipe's command for an application at `address`; the registration of RFC 7591 §3.2.1 that it
    prints.
    """
    command = replaced(block(heading, "bash"), {"\\\n": "", APPLICATION: address})
    _flask, *words = shlex.split(command)
    return json.loads(server.flask(*words, *options).stdout)


def replaced(text, changes):
    """The text with all changes made; each of them must be one."""
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text
