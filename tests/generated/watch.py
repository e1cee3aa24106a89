"""What a request leaves behind, besides its answer: rows, and lines of the log."""

import logging

from database.tables import table
from models import SpentAssertion, Throttle, db

OF_PENALTIES = {table(Throttle), table(SpentAssertion)}
COUNT = "CREATE TRIGGER count_* AFTER INSERT ON * BEGIN UPDATE inserted SET number = number + 1; END"


class Rows:
    """Counts inserted rows of an app in memory, but for those that a refusal may leave.

    What is rolled back is not counted.
    """

    def __init__(self, app):
        with app.app_context():
            self.connection = db.engine.raw_connection().driver_connection  # there is one
            self.connection.execute("CREATE TABLE inserted (number INTEGER)")
            self.connection.execute("INSERT INTO inserted VALUES (0)")
            for watched in db.metadata.sorted_tables:
                if watched not in OF_PENALTIES:
                    self.connection.execute(COUNT.replace("*", watched.name))

    def inserted(self):
        return self.connection.execute("SELECT number FROM inserted").fetchone()[0]


class Log(logging.Handler):
    """Keeps `lines`: everything that the product logs, whatever its level."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.logger = logging.getLogger("ostiary")
        self.level_before = self.logger.level
        self.logger.setLevel(logging.DEBUG)
        self.logger.addHandler(self)

    def emit(self, record):
        self.lines.append(self.format(record))

    def end(self):
        self.logger.removeHandler(self)
        self.logger.setLevel(self.level_before)
