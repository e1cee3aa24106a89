"""The ways in which a client proves who it is, a file each (RFC 6749 §2.3).

Each takes `query_client` and the request, and returns the client or None. Nobody is told which method failed,
so `authorization_server.py` answers a failure in one place. `client_keys.py` finds the public keys that a
client signs with.
"""
