"""One file for each grant type: what it checks and what it claims.

All of them end in `my_oauth.save_token`.
"""
