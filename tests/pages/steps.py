"""What a person does with the pages, through the test client: open, fill in, press, follow."""

from urllib.parse import parse_qs, urlencode, urlsplit

from tests.builders import CHALLENGE, ISSUER, PASSWORD, REDIRECT_URI
from tests.pages.page import Page

EMAIL = "ada@example.com"


def page(answer):
    return Page(answer.text, answer.request.path + ("?" + answer.request.query_string.decode()).rstrip("?"))


def press(http, answer, button, headers=None, **fields):
    """Fill in the form of `answer` that has this button, and send it."""
    form = page(answer).form(button)
    return http.open(
        form.url, method=form.method.upper(), data=form.filled(button, **fields), headers=headers
    )


def go(http, answer, link):
    """Follow the link of `answer` with these words."""
    return follow(http, http.get(page(answer).links[link]))


def sign_in(http, email=EMAIL, password=PASSWORD):
    answer = press(http, http.get("/login"), "Sign in", email=email, password=password)
    assert answer.status_code == 303
    return answer


def sign_out(http):
    return press(http, http.get("/logout"), "Sign out")


def authorization_path(**changed):
    """The path of a valid authorization request. A value of None leaves the parameter out."""
    parameters = {
        "response_type": "code",
        "client_id": "web",
        "redirect_uri": REDIRECT_URI,
        "scope": "profile",
        "state": "the state",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    kept = {name: value for name, value in (parameters | changed).items() if value is not None}
    return "/oauth/authorize?" + urlencode(kept)


def ask(http, **changed):
    """What the browser shows when a client has sent it here: redirects inside the site are followed."""
    return follow(http, http.get(authorization_path(**changed)))


def follow(http, answer):
    """Go where the answer leads, as long as that is inside the site."""
    while answer.status_code in (302, 303) and answer.headers["Location"].startswith("/"):
        answer = http.get(answer.headers["Location"])
    return answer


def ticket_of(answer):
    """The ticket of a consent page, or of the request that a sign-in page is for."""
    for form in page(answer).forms:
        if "ticket" in form.fields:
            return form.fields["ticket"]
    return parse_qs(urlsplit(parse_qs(urlsplit(answer.request.url).query)["next"][0]).query)["ticket"][0]


def answer_to_client(answer, redirect_uri=REDIRECT_URI):
    """The members of the authorization response, each a list; the redirect goes to the client and nowhere
    else.
    """
    assert answer.status_code == 303
    address, _question_mark, query = answer.headers["Location"].partition("?")
    assert address == redirect_uri
    members = parse_qs(query, keep_blank_values=True)
    assert members["iss"] == [ISSUER]
    return members
