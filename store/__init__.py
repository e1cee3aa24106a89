"""All SQL statements but those of `save_token`, one file for each table or subject.

Functions take plain values and flush at most; nothing here ends a transaction.

The statements that a token request needs are built once, when the module is read.
"""
