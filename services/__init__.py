"""Rules that front ends share: clients, users, sessions, throttles, events, metrics.

Front ends are pages, endpoints, commands and a future API. Each change of state is one function here. It
knows no form and no argv: it takes values, and raises codes with values.
"""
