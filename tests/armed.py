"""The application with an armed failpoint: what tests serve instead of `app:create_app` to kill its
processes.

`FAILPOINT_ORDERS` names the file of orders (`testing/failpoints.py`). The product has no setting for it.
"""

import os
from pathlib import Path

from flask import Flask

import app as application
from models import db
from services.current import state_of
from testing import failpoints


def create_app() -> Flask:
    """Return the application, armed. Only for a loopback issuer."""
    app = application.create_app()
    arm(app, Path(os.environ["FAILPOINT_ORDERS"]))
    return app


def arm(app: Flask, orders: Path) -> None:
    """Let requests of this app do what the file says, at the point that it names."""
    assert state_of(app).settings.is_development, "failpoints kill processes"
    with app.app_context():
        failpoints.arm(db.engine, orders)
