"""The ways in which a client proves who it is, a file each (RFC 6749 §2.3).

Each takes `query_client` and the request, and returns the client or None. A failure is answered in one place,
`authorization_server.py`, always in the same words. `client_keys.py` finds the public keys that a client
signs with.
"""
