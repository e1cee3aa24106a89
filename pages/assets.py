"""The stylesheet and the icon, which browsers keep for a year under a URL with a digest of the content.

Pages link to `/static/ostiary.css?v=…`, so a new version of a file is fetched at once and an unchanged one
never again.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, request

blueprint = Blueprint("assets", __name__)

FOREVER = "public, max-age=31536000, immutable"


def version(filename: str) -> str | None:
    """Return the start of the digest of a file's content, or None when there is no such file."""
    file = Path(current_app.static_folder or "", filename)
    return digest_of(file, file.stat().st_mtime_ns) if file.is_file() else None


@cache
def digest_of(file: Path, modified_at: int) -> str:
    """Return the start of the digest, computed again when the file was changed, as in development."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


@blueprint.app_url_defaults
def add_version(endpoint: str, values: dict[str, Any]) -> None:
    """Add the version to the URL of a static file. Flask decides the type of `values`."""
    if endpoint == "static" and "v" not in values:
        values["v"] = version(values["filename"])


def cache_forever(filename: str, response: Response) -> Response:
    """Let browsers keep what was asked for by its present version: under any other URL it may change."""
    if response.status_code in (200, 304) and request.args.get("v") == version(filename):
        response.headers["Cache-Control"] = FOREVER
    return response
