"""JSON as one reader and the next take it alike: what ``json`` lets pass is refused with ``ValueError``."""

from typing import Any


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without a name twice, of which readers keep one or the other; for ``object_pairs_hook``."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice in one object")
    return found


def no_constant(name: str) -> Any:
    """For ``parse_constant``: NaN and infinity are no JSON."""
    raise ValueError(f"{name} is not JSON")
