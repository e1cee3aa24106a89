"""Add the security headers to every response: Content-Security-Policy, HSTS, no caching, no sniffing."""

from wsgiref.types import WSGIEnvironment

from flask import Response, g, request

from middleware.endpoint_policy import policy_of
from middleware.request_checks import REQUEST_ID
from services.current import tenant

CSP = (
    "default-src 'none'; {script}style-src 'self'; img-src 'self'; font-src 'self'; "
    "{form_action}base-uri 'none'; frame-ancestors 'none'"
)

ALWAYS = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
HSTS = ("Strict-Transport-Security", "max-age=31536000")
NO_STORE = ("Cache-Control", "no-store")


def add_headers(response: Response, environ: WSGIEnvironment) -> None:
    """Add what is not set yet; the Content-Security-Policy to pages."""
    is_for_programs = policy_of(environ).is_for_programs
    wanted = [*ALWAYS, ("Request-Id", environ.get(REQUEST_ID, ""))]
    if tenant().settings.is_https:
        wanted.append(HSTS)
    if not is_for_programs:
        policy = CSP.format(
            script=g.get("script", ""), form_action=g.get("form_action", "form-action 'self'; ")
        )
        wanted += [("Content-Security-Policy", policy), ("X-Frame-Options", "DENY")]
    if is_for_programs or request.endpoint != "static":
        wanted.append(NO_STORE)
    present = {name.lower() for name, _value in response.headers}
    for name, value in wanted:
        if name.lower() not in present:
            response.headers.add(name, value)


def omit_form_action() -> None:
    """Let the form of this page be answered by a redirect to a client.

    Browsers apply the policy to each redirect of a chain, also to those of the client's own callback, and
    nobody can name them all.
    """
    g.form_action = ""


def allow_own_script() -> None:
    """Let this page run a script file of this site, which may ask this site alone."""
    g.script = "script-src 'self'; connect-src 'self'; "
