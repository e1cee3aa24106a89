"""`/.well-known/change-password`: lead the users of a password manager to the page that changes a password.

W3C, A Well-Known URL for Changing Passwords.
"""

from flask import redirect, url_for
from flask.typing import ResponseReturnValue

from middleware.endpoint_policy import Caller, Cors, Csrf, Endpoint, EndpointPolicy, Metadata

policy = EndpointPolicy(
    paths=("/.well-known/change-password",),
    methods=("GET", "HEAD"),
    caller=Caller.PROGRAM,
    cors=Cors.ANY_ORIGIN,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=0,
    metadata=Metadata.NONE,
)
blueprint = Endpoint(__name__, policy)


@blueprint.view()
def change_password() -> ResponseReturnValue:
    """Return a redirect to the page where a user changes their password."""
    return redirect(url_for("account_password.password"), 303)
