"""Broken lines between the application and its database, and storage that fails: what is answered, and what
is stored then.
"""
