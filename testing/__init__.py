"""What Ostiary ships for tests: its own, an operator's, and those of applications that use it."""
