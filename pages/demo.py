"""`/demo`: the demo client, which runs in the browser and shows each request and answer of the code flow.

Only on a loopback issuer, and only while its client is registered (`flask demo`). The one page with a script:
a public client is one (OAuth 2.1 §2.1), so this is what it shows.
"""

from flask import Blueprint, abort, render_template

import store.demo
from middleware.security_headers import allow_own_script
from services.current import issuer, settings
from services.demo import find_client

blueprint = Blueprint("demo", __name__)


@blueprint.get(store.demo.PATH)
def demo() -> str:
    """Return the demo, or 404 where there is none."""
    client = find_client()
    if client is None:
        abort(404)
    allow_own_script()
    return render_template(
        "demo.html",
        client=client,
        issuer=issuer,
        origin=settings.origin,
        redirect_uri=store.demo.redirect_uri(issuer),
        email=store.demo.EMAIL,
    )
