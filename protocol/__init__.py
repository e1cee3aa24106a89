"""The rules, without Flask and without SQL: what the RFCs say about values.

Everything here can be called in a test directly.
"""
