"""Add the security headers to every response: Content-Security-Policy, HSTS, no caching, no sniffing."""

from flask import Flask, Response, g, request

from middleware.endpoint_policy import current_policy
from services.current import settings

CSP = (
    "default-src 'none'; {script}style-src 'self'; img-src 'self'; font-src 'self'; "
    "{form_action}base-uri 'none'; frame-ancestors 'none'"
)


def init_app(app: Flask) -> None:
    """Add the headers to what this app answers."""

    @app.after_request
    def add_security_headers(response: Response) -> Response:
        """Add what is not set yet; the Content-Security-Policy to pages."""
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("Request-Id", g.get("request_id", ""))
        if settings.is_https:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if not current_policy().is_for_programs:
            policy = CSP.format(
                script=g.get("script", ""), form_action=g.get("form_action", "form-action 'self'; ")
            )
            headers.setdefault("Content-Security-Policy", policy)
            headers.setdefault("X-Frame-Options", "DENY")
        if request.endpoint != "static":
            headers.setdefault("Cache-Control", "no-store")
        return response


def omit_form_action() -> None:
    """Let the form of this page be answered by a redirect to a client.

    Browsers apply the policy to each redirect of a chain, also to those of the client's own callback, and
    nobody can name them all.
    """
    g.form_action = ""


def allow_own_script() -> None:
    """Let this page run a script file of this site, which may ask this site alone."""
    g.script = "script-src 'self'; connect-src 'self'; "
