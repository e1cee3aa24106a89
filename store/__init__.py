"""Every question to the database, a file a subject. Functions take plain values and flush at most; nothing
here ends a transaction.

The statements that a token request needs are built once, when the module is read.
"""
