"""One file for each way in which a client proves who it is (RFC 6749 §2.3).

Each takes `query_client` and Authlib's request, and returns the client or None. Which method was right is
nobody's business, so a failure is answered in one place, `authorization_server.py`. `client_keys.py` finds
the public keys that a client signs with.
"""
