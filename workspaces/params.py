"""What people and clients name in words, out of a path, a query, a form or a body: an id, a number, a time."""

from datetime import UTC, datetime

from workspaces.errors import ValidationFailed

MAX_ID = 2**63 - 1


def row_id(value: object, param: str = "id") -> int:
    """A row's number. Raises ``ValidationFailed`` for anything else."""
    text = str(value) if not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
        raise ValidationFailed("This is not an id.", param=param)
    return int(text)


def number_of(text: str, param: str, *, most: int) -> int:
    """A number from 1 to ``most``. Raises ``ValidationFailed`` for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        raise ValidationFailed(f"{param} is a number from 1 to {most}.", param=param)
    return int(text)


def time_of(text: str, param: str) -> datetime:
    """RFC 3339, or Unix seconds. A space is a plus sign that nobody escaped. Raises ``ValidationFailed``."""
    try:
        seconds = text.isascii() and text.replace(".", "", 1).isdigit()
        at = datetime.fromtimestamp(float(text), UTC) if seconds else datetime.fromisoformat(text.replace(" ", "+"))
        if at.tzinfo is None or not 1970 <= at.astimezone(UTC).year < 9999:
            raise ValueError(text)
    except (ValueError, OverflowError, OSError) as error:
        raise ValidationFailed("A time in RFC 3339 with its zone (2026-01-31T09:30:00Z), or in Unix seconds.", param=param) from error
    return at
