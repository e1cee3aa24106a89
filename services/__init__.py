"""The rules that pages, endpoints, commands and a future API share: each change of state is one function
here.
"""
