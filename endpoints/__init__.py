"""One file for each URL of OAuth and OpenID Connect: HTTP request in, HTTP response out.

Views run inside `unit_of_work.run_in_transaction`.
"""
