"""What one client was told of the one token row that it writes, and what that row may be after a crash.

Enters: each write as it begins, and whether it was acknowledged. Leaves: nothing, or what is wrong with the
rows that were found: they must be what the last acknowledged write left, or what a write since left that
nobody was told of. A value names what was spent for a row (a code, a refresh token); NO_ROW is what a
revocation leaves.
"""

NO_ROW = None


class History:
    """Of one person at one client.

    One write at a time; one that was not acknowledged may have happened or not.
    """

    def __init__(self, value=NO_ROW):
        self.known = value
        self.in_doubt = []
        self.past = []

    def begin(self, value):
        if value not in self.in_doubt:
            self.in_doubt.append(value)

    def acknowledge(self):
        """The write that began last is stored, and nothing before it counts any more."""
        *undone, value = self.in_doubt
        self.past += [self.known, *undone]
        self.known, self.in_doubt = value, []

    def find_violation(self, rows):
        """rows: the values of those that were found while nothing was under way. None, or what is wrong."""
        if len(rows) > 1:
            return f"both: {len(rows)} rows where there may be one"
        found = rows[0] if rows else NO_ROW
        if found == self.known or found in self.in_doubt:
            return None
        if found is NO_ROW:
            return "neither: an acknowledged token is gone, and nobody revoked it"
        if found in self.past:
            return "an acknowledged write is undone: an older token is back"
        return "a row that nobody wrote"

    def settle(self, rows):
        """Go on from what was found. Returns whether that is a write that nobody was told of."""
        found = rows[0] if rows else NO_ROW
        was_in_doubt = found != self.known
        self.past += [self.known, *self.in_doubt]
        self.known, self.in_doubt = found, []
        return was_in_doubt
