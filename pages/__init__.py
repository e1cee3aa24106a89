"""A file for each subject that people meet: home, sign-in, sign-up, sign-out. Consent belongs to
`endpoints/authorize.py`.

Everything but the demo works without JavaScript. Forms carry a CSRF token; a failed one is shown again with
status 400.
"""
