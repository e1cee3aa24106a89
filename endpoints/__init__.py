"""One file for each protocol URL: HTTP request in, HTTP response out.

Views run inside `unit_of_work.run_in_transaction`.
"""
