"""The floors of the house: which room may import which.

The test of imports and the drawing in the docs read this one list.
"""

# Ground floor first. A file imports what lies on the floors below its own, and from its own room.
FLOORS = [
    "errors",
    "crypto environment",
    "protocol database",
    "config models",
    "store unit_of_work",
    "outbound",
    "services",
    "middleware",
    "client_auth tokens pages testing",
    "grants authorization commands",
    "endpoints authorization_server migrations",
    "my_oauth",
    "app",
    "gunicorn.conf",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
