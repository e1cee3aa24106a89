"""One file for each page that people see: sign-in, sign-up, account, demo.

The consent page belongs to `endpoints/authorize.py`.
Everything but the demo works without JavaScript. Forms carry a CSRF token; a failed one is shown again with
status 400.
"""
