"""The documents for readers: the walk with curl is run, tables are those of the code, links lead somewhere.

The README is short, its picture can be taken again, and `docs/README.md` lists every document once.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config import Settings
from tests.flows.chromium import CHROMIUM
from tests.live import PROJECT, live_server
from tests.screenshots import PICTURE, take_consent

README = (PROJECT / "README.md").read_text()
WALK = (PROJECT / "docs/walkthrough.md").read_text()
TENANTS = (PROJECT / "docs/tenants.md").read_text()
SETTINGS = (PROJECT / "docs/settings.md").read_text()
INDEX = PROJECT / "docs/README.md"
AT_THE_TOP = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
DOCUMENTS = [*AT_THE_TOP, *sorted(PROJECT.glob("docs/**/*.md"))]
NAMING_FILES = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
FILE = re.compile(r"`((?:[a-z_]+/)+[a-z_0-9.-]+\.(?:py|md|html|conf|service|socket|json))`")
KINDS = ["Start", "How-to", "Reference", "Why"]
FIRST_SCREEN, WHOLE, WIDTH = 40, 90, 110
LARGEST_PICTURE = 80_000  # bytes


def links_of(document):
    """Return the links of a document that lead to this project, as pairs of a path and a heading, each
    perhaps empty.
    """
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text) if any(target)]


def anchors_of(document):
    """Return what the headings of a document are called in links."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- the walk and the settings -----------------------------------------------------------------------------


@pytest.mark.long
def test_the_walk_with_curl(tmp_path):
    missing = [tool for tool in ("curl", "openssl", "python3") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the walk needs {', '.join(missing)}")
    blocks = re.findall(r"^```bash\n(.*?)^```$", WALK, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    # replaced
    script = "set -euo pipefail\n" + "\n".join(blocks).replace("/tmp/", f"{tmp_path}/")  # noqa: S108
    assert (PROJECT / ".venv/bin/flask").exists()
    with live_server(f"sqlite:///{tmp_path / 'walk.sqlite3'}", tmp_path) as server:
        walk = subprocess.run(
            ["bash", "-c", script],
            cwd=PROJECT,
            env=server.environment | {"ISSUER": server.issuer, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert walk.returncode == 0, walk.stderr
    assert '"token_type": "Bearer"' in walk.stdout
    assert "http://127.0.0.1:9000/cb?code=ost_ac_" in walk.stdout
    assert '"email":"ada@example.com"' in walk.stdout
    assert "the same pair" in walk.stdout
    assert '"active": false' in walk.stdout


@pytest.mark.long
def test_the_lines_about_tenants(tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("the lines need curl")
    blocks = re.findall(r"^```bash\n(.*?)^```$", TENANTS, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    with live_server(f"sqlite:///{tmp_path / 'tenants.sqlite3'}", tmp_path, tenants="on") as server:
        script = "set -euo pipefail\n" + "\n".join(blocks).replace(":8000", f":{server.port}")
        environment = {
            name: server.environment[name] for name in server.environment.keys() - {"OSTIARY_TENANTS"}
        }
        done = subprocess.run(
            ["bash", "-c", script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")],
            cwd=PROJECT,
            env=environment | {"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert f'"issuer":"{server.issuer}/t/acme"' in done.stdout
    assert 'branding.name  "Acme"' in done.stdout
    assert "beta: No problem found." in done.stderr
    assert "Removed the tenant acme, and " in done.stderr


def test_the_settings_are_those_of_the_class(app):
    """The table is made by a command from the settings' own docstrings."""
    table = app.test_cli_runner().invoke(args=["config", "settings"]).output
    for_operators = [name for name, field in Settings.model_fields.items() if not field.exclude]
    assert all(f"| `OSTIARY_{name.upper()}` |" in table for name in for_operators)
    assert all(field.description for field in Settings.model_fields.values())
    assert f"<!-- from `flask config settings` -->\n{table}<!-- end -->" in SETTINGS


# ---- the README --------------------------------------------------------------------------------------------


def test_the_readme_is_short():
    lines = README.splitlines()
    assert len(lines) <= WHOLE
    assert [line for line in lines if len(line) > WIDTH and not line.startswith("|")] == []


def test_its_first_screen_says_what_how_and_what_works():
    first = "\n".join(README.splitlines()[:FIRST_SCREEN])
    for words in ("# Ostiary", "for teams", PICTURE.name, "make run", "make test", "What works", "not yet"):
        assert words in first, words
    assert first.index("make run") < first.index("make test")


def test_each_of_the_six_facts_links_to_its_proof():
    [facts] = re.findall(r"^## Six facts.*?\n(.*?)^A proof", README, re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^- \*\*", facts, re.MULTILINE)) == 6
    for fact in re.split(r"^- ", facts, flags=re.MULTILINE)[1:]:
        assert re.search(r"Proof:\s+\[[^]]+\]\(tests/", fact), fact


def test_its_picture_is_small():
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert PICTURE.stat().st_size <= LARGEST_PICTURE


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_its_picture_can_be_taken_again(request, tmp_path):
    """Fonts differ between machines, so only its width is compared."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    taken = tmp_path / PICTURE.name
    take_consent(request.getfixturevalue("chromium"), tmp_path, taken)
    assert taken.read_bytes()[16:20] == PICTURE.read_bytes()[16:20]


# ---- links and the index -----------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(document):
    for path, anchor in links_of(document):
        target = (document.parent / path) if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"


@pytest.mark.parametrize("document", NAMING_FILES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_files_that_are_named_are_there(document):
    """Of the product, its tests and its documents, as they are now: history may name what is gone."""
    named = set(
        re.findall(
            r"`((?:[a-z_]+/)+[a-z_0-9.-]+\.(?:py|md|html|conf|service|socket|json))`", document.read_text()
        )
    )
    assert sorted(path for path in named if not (PROJECT / path).exists()) == []


def test_the_index_lists_every_document_once():
    listed = [Path(os.path.normpath(INDEX.parent / path)) for path, _anchor in links_of(INDEX)]
    assert sorted(listed) == sorted(set(DOCUMENTS) - {INDEX})
    assert re.findall(r"^## (.*)$", INDEX.read_text(), re.MULTILINE) == KINDS


def test_the_index_has_the_titles_of_the_decisions():
    text = " ".join(INDEX.read_text().split())
    for decision in sorted(PROJECT.glob("docs/adr/*.md")):
        number, title = re.match(r"# (\d+)\. (.*)\n", decision.read_text()).groups()
        assert f"- [{number}](adr/{decision.name}): {title}." in text
