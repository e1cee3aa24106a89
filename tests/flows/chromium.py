"""Chromium: where it is, and how it is started. `conftest.py` starts one for all tests of a process."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MILLISECONDS = 15_000
ARGUMENTS = [
    "--no-sandbox",  # it cannot run as root otherwise, as it is in containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
