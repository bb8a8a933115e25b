"""How a key's limits are written: what people and clients send, turned into the one form that is stored.

Each function raises ``ValueError`` with a sentence for the person who wrote it. Source: spec/platform.md 1.2.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from firewall.engine import glob
from firewall.engine.glob import MAX_GLOB_CHARS
from workspaces.engine.client_address import parse_network

MAX_ENTRIES = 200
MAX_ENVIRONMENT_CHARS = 32
#: The documented sentinel for a key that never expires.
NEVER = -1
#: 9999-12-31, the last day that every part of the product can write.
LATEST = 253_402_300_799


def networks(text: str) -> list[str]:
    """Addresses and CIDRs, one a line or separated by commas, in canonical form and without repeats; empty is any address."""
    entries = _entries(re.split(r"[\n,]", text), "addresses")
    found = []
    for entry in entries:
        try:
            network = parse_network(entry)
        except ValueError as error:
            raise ValueError(f"{_quoted(entry)} is not an IP address or a CIDR.") from error
        found.append(str(network.network_address) if network.num_addresses == 1 else str(network))
    return list(dict.fromkeys(found))


def models(written: str | Iterable[str]) -> list[str]:
    """Model names and globs: a list, or one text with commas or lines between them."""
    entries = _entries(re.split(r"[\n,]", written) if isinstance(written, str) else written, "models")
    for entry in entries:
        if len(entry) > MAX_GLOB_CHARS or not entry.isprintable():
            raise ValueError(f"{_quoted(entry)} is not a model name: at most {MAX_GLOB_CHARS} printable characters.")
        if "*" in entry and glob.parse(entry).form is glob.Form.EXACT:
            raise ValueError(f"{_quoted(entry)} matches no model: a * stands alone, or first or last next to a dot, as in gpt-4.* for gpt-4.1.")
    return entries


def environment(text: str) -> str:
    """A tag: trimmed, and cut rather than refused when it is too long."""
    return text.strip()[:MAX_ENVIRONMENT_CHARS].strip()


def expiry(seconds: int) -> datetime | None:
    """A moment in Unix seconds, past or future; ``NEVER`` is None."""
    if seconds == NEVER:
        return None
    if not 0 <= seconds <= LATEST:
        raise ValueError("Unix seconds, or -1 for never.")
    return datetime.fromtimestamp(seconds, UTC)


def _entries(written: Iterable[str], what: str) -> list[str]:
    entries = list(dict.fromkeys(filter(None, (entry.strip() for entry in written))))
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"At most {MAX_ENTRIES} {what}.")
    return entries


def _quoted(entry: str) -> str:
    return repr(entry[:64])
