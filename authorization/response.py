"""Write an authorization response: into the redirect's query, or into a form that the browser posts.

RFC 6749 §4.1.2, OAuth 2.0 Form Post Response Mode, and `iss` in every answer, errors too (RFC 9207 §2).
"""

from flask import render_template

from middleware.security_headers import allow_own_script, omit_form_action
from protocol import redirect_uris

Response = tuple[int, str, dict[str, str]]


def build(redirect_uri: str, answer: list[tuple[str, str]], response_mode: str, issuer: str) -> Response:
    """Return status, body and headers. answer: the members of the response, without `iss`."""
    answer = [*answer, ("iss", issuer)]
    if response_mode == "form_post" and redirect_uris.is_web(redirect_uri):
        omit_form_action()
        allow_own_script()
        host = redirect_uris.display_host(redirect_uri)
        page = render_template("form_post.html", action=redirect_uri, answer=answer, host=host)
        return 200, page, {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
    # 303, so that a browser never sends the consent form on (RFC 9700 §4.12).
    return (
        303,
        "",
        {"Location": redirect_uris.add_response(redirect_uri, answer), "Cache-Control": "no-store"},
    )
