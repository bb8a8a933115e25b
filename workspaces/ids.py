"""UUIDv7 (RFC 9562, 5.7): ids that sort by time, so one index serves the primary key, paging and time filters."""

import os
import struct
import threading
import time
from datetime import UTC, datetime
from uuid import UUID, SafeUUID

_TIME, _VERSION_7, _UPPER, _LOWER = ((1 << 48) - 1) << 80, 0x7 << 76 | 0b10 << 62, ((1 << 12) - 1) << 62, (1 << 62) - 1
#: Named once: an enumeration looks for its members with each use.
_UNKNOWN = SafeUUID.unknown
_lock = threading.Lock()
_last = 0
#: Random bits, drawn many at a time: the system call costs more than all else. A forked process draws its own.
_chances: list[int] = []
os.register_at_fork(after_in_child=_chances.clear)


def _chance() -> int:
    """64 random bits; under the lock."""
    if not _chances:
        _chances.extend(struct.unpack("256Q", os.urandom(2048)))
    return _chances.pop()


def of_int(value: int) -> UUID:
    """``UUID(int=value)`` of 128 bits that need no check: the class looks for every other way of saying it first."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", value)
    object.__setattr__(made, "is_safe", _UNKNOWN)
    return made


def uuid7() -> UUID:
    """A new id, greater than every one made before it in this process."""
    global _last
    now = time.time_ns() // 1_000_000 << 80
    with _lock:
        if now > _last:
            _last = now | _chance() << 10
        else:
            # Several ids in one millisecond, or a clock set back: continue from the last one, so that order is kept.
            _last += 1 + (_chance() >> 32)
        stamp = _last
    # 48 bits of time, 6 fixed ones, and the other 74 around these.
    return of_int(stamp & _TIME | _VERSION_7 | (stamp & _UPPER) << 2 | stamp & _LOWER)


def lowest_at(at: datetime) -> UUID:
    """The smallest id of that moment: ``id >= lowest_at(start)`` and ``id < lowest_at(end)`` select a period. None is before 1970."""
    return UUID(int=max(int(at.timestamp() * 1000), 0) << 80)


def moment_of(value: UUID) -> datetime:
    """When the id was made, to the millisecond, in UTC."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
