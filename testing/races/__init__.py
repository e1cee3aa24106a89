"""The rules of the tokens, tried out on a database: scenes, the crowd that plays them at the same moment, and
what came out.

Enters: settings, and a place of its own beside the operator's tables. Leaves: a tally of each scene. `flask
prove` and the pytest plugin (`testing/races/plugin.py`) are two ways in. Nothing here touches a row that it
has not made.
"""
