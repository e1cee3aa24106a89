"""What a person is told who has to wait: the form again, a status that programs understand, and how long."""

import math

BUSY = "Many people are signing in at this moment. Please try again in a few seconds."
BUSY_SECONDS = "2"  # the Retry-After that goes with it


def too_many_tries(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    return f"Too many tries. Please wait {'a minute' if minutes == 1 else f'{minutes} minutes'}, then try again."
