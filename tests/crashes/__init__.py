"""Processes that die, databases that die, storage that fails: nothing acknowledged is lost, and nothing is
half done.
"""
