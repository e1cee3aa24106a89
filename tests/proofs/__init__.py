"""`make prove`: the promises of `docs/proving.md`, counted on each engine, in one table.

Races over HTTP, worker processes and database servers killed under load, and what the safe design costs.
Plain functions: the tests of the same names run them briefly.
"""
