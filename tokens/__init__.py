"""How each kind of token is made, read and checked."""
