"""An authorization request from its arrival to the answer that the client gets (RFC 6749 §4.1.1, §4.1.2)."""
