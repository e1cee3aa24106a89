"""Where a process gets its variables from: its own environment, a file of settings, and files with one secret
each.
"""
