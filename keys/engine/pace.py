"""When a limit is reached if spending goes on as it did."""

from datetime import datetime, timedelta

#: A pace is told once so much of a period is over: less says nothing of the rest.
_TOLD_AFTER = 1 / 24
#: Nothing farther ahead is told.
FARTHEST = timedelta(days=365)


def reached_at(*, spent_micro_usd: int, left_micro_usd: int, since: datetime, at: datetime, least: timedelta) -> datetime | None:
    """``spent_micro_usd`` were spent since a moment; when the rest is at that pace.

    None where nothing was spent, where ``least`` has not passed yet, where nothing is left, and where it lies too far ahead to mean anything.
    """
    passed = at - since
    if spent_micro_usd <= 0 or left_micro_usd <= 0 or passed < least or passed <= timedelta():
        return None
    # As floats: a limit of a billion dollars at a micro-dollar a day is no date at all.
    seconds = passed.total_seconds() * (left_micro_usd / spent_micro_usd)
    return at + timedelta(seconds=seconds) if seconds <= FARTHEST.total_seconds() else None


def reached_before(resets_at: datetime, *, spent_micro_usd: int, left_micro_usd: int, since: datetime, at: datetime) -> datetime | None:
    """The same of a period that began with ``since``; None too where it begins anew before."""
    found = reached_at(spent_micro_usd=spent_micro_usd, left_micro_usd=left_micro_usd, since=since, at=at, least=(resets_at - since) * _TOLD_AFTER)
    return found if found and found < resets_at else None
