"""What we ship for tests: the pytest plugin, the races behind `flask prove`, and failpoints."""
