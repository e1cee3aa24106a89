"""The README's walk with curl is run, line by line, against a live server."""

import os
import re
import shutil
import subprocess

import pytest

from config import Settings
from tests.live import PROJECT, live_server

README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_walk_with_curl(tmp_path):
    missing = [tool for tool in ("curl", "openssl", "python3") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the walk needs {', '.join(missing)}")
    assert len(BLOCKS) == 5
    script = "set -euo pipefail\n" + "\n".join(BLOCKS).replace("/tmp/", f"{tmp_path}/")  # noqa: S108 - replaced, not used
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


def test_the_two_commands_stand_first():
    assert README.index("make run") < README.index("make test") < README.index("curl -sf")


def test_the_settings_are_those_of_the_class(app):
    """The table is made by a command from the settings' own docstrings."""
    table = app.test_cli_runner().invoke(args=["config", "settings"]).output
    for_operators = [name for name, field in Settings.model_fields.items() if not field.exclude]
    assert all(f"| `OSTIARY_{name.upper()}` |" in table for name in for_operators)
    assert all(field.description for field in Settings.model_fields.values())
    assert f"<!-- from `flask config settings` -->\n{table}<!-- end -->" in README


def test_links_lead_somewhere():
    for document in [
        PROJECT / "README.md",
        *PROJECT.glob("docs/*.md"),
        PROJECT / "CONTRIBUTING.md",
        PROJECT / "SECURITY.md",
    ]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), (document.name, target)
