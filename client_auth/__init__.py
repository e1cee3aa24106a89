"""Ways a client proves itself, a file each (RFC 6749 §2.3). Each takes `query_client` and Authlib's request, and returns the client
or None; which method was right is nobody's business, so a failure is answered in one place, `my_oauth.Server`. `client_keys.py`
finds the public keys that a client signs with, here and elsewhere.
"""
