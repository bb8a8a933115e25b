"""The form of a relay key. Source: spec/platform.md 1.3, spec/decisions.md 4.1."""

import re

PREFIX = "sk-orca-"
#: Base62 characters after the prefix: 285 bits.
LENGTH = 48

_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH}}}")
_MASK = re.compile(rf"(?:{PREFIX})?([0-9A-Za-z]{{4}})\*+([0-9A-Za-z]{{4}})")


def is_well_formed(text: str) -> bool:
    """Whether a text can be a key at all; what cannot is answered without a look-up."""
    return _FORM.fullmatch(text) is not None


def ends(plaintext: str) -> tuple[str, str]:
    """The four characters on each side that may be kept and shown."""
    return plaintext[len(PREFIX) : len(PREFIX) + 4], plaintext[-4:]


def mask(start: str, end: str) -> str:
    """``sk-orca-a1b2****yz90``: a constant width, so it does not tell the length."""
    return f"{PREFIX}{start}****{end}"


def ends_of_mask(text: str) -> tuple[str, str] | None:
    """What ``mask`` was made of, for a search by a pasted mask; None for any other text."""
    found = _MASK.fullmatch(text.strip())
    return found and (found[1], found[2])
