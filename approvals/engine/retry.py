"""When a message that did not arrive is sent again. Source: spec/decisions.md 7.5."""

MAX_ATTEMPTS = 8
#: Seconds after the first attempt, and by how much each later wait is longer: seven waits come to 5.9 hours.
FIRST_WAIT_SECONDS = 5.0
GROWTH = 3.83
#: Each wait is up to this part longer or shorter, so that a receiver that comes back is not met by all at once.
JITTER = 0.2


def wait_seconds(attempt: int, luck: float) -> float | None:
    """Seconds from the end of attempt 1, 2, ... to the next one; None after the last. ``luck`` from 0 to 1."""
    if attempt >= MAX_ATTEMPTS:
        return None
    return FIRST_WAIT_SECONDS * GROWTH ** (attempt - 1) * (1 + JITTER * (2 * luck - 1))
