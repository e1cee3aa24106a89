"""Scopes (RFC 6749 §3.3): `scope` is one string, `scopes` a tuple in the order of the request."""

import re

# They are about a user, or for one who is away: a client that acts for itself cannot have them.
REQUIRE_USER = frozenset({"openid", "profile", "email", "address", "phone", "groups", "offline_access"})

OPENID = "openid"  # asks for an ID token (OpenID Connect Core §3.1.2.1)

# OpenID Connect Core §11. Every client with the code grant may ask for it. A refresh token is issued without
# it too.
OFFLINE_ACCESS = "offline_access"
OFFLINE_ACCESS_DESCRIPTION = "Stay connected while you are away"

# What an issuer has from the beginning, with the words of the consent page (OpenID Connect Core §5.4).
OPENID_DESCRIPTIONS = {
    OPENID: "Know who you are",
    "profile": "See your name",
    "email": "See your email address",
    "address": "See your postal address",
    "phone": "See your phone number",
    "groups": "See which groups you are in",
}

SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")


def split(scope: str | None) -> tuple[str, ...]:
    """Return the words of a scope string, once each, in order; () for None and ""."""
    return tuple(dict.fromkeys((scope or "").split()))


def join(scopes: tuple[str, ...] | list[str]) -> str:
    """Return the scope string of some words."""
    return " ".join(scopes)


def is_within(scope: str, allowed: str) -> bool:
    """Return whether every word of `scope` is among those of `allowed`."""
    return set(split(scope)) <= set(split(allowed))


def is_scope_token(word: str) -> bool:
    """Return whether `word` has the form of one scope (RFC 6749 §3.3)."""
    return SCOPE_TOKEN.fullmatch(word) is not None
