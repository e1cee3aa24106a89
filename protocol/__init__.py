"""What the RFCs say about values (redirect URIs, scopes, claims, PKCE), without Flask and without SQL.

Everything here can be called in a test directly.
"""
