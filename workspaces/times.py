"""Times leave the product in one form, whoever asks: RFC 3339 in UTC, with ``Z``."""

from datetime import UTC, datetime


def rfc3339(at: datetime, *, timespec: str = "auto") -> str:
    """An aware time as answers, files, audit entries and log lines have it. ``timespec`` as for ``isoformat``."""
    return at.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
