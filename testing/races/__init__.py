"""Races for the tokens' guarantees on a real database, behind `flask prove` and a pytest plugin.

Enters: settings, and a scratch database beside the operator's tables. Leaves: the result of each scenario.
Worker processes send the requests of a scenario at the same moment. No row is read or changed that a scenario
has not created. `testing/races/plugin.py` is the pytest plugin.
"""
