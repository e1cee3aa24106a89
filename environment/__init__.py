"""Where a process gets its variables from: its environment, a file of settings, and files with one secret."""
