"""The words of a judgement, and the parsed shell it is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

FOUND = "$found"
"""Stands for each of the files that a search or a loop finds."""

UNKNOWN = "$(...)"
"""Stands for the output of a command that is not known before it runs."""

FED = "$fed"
"""Stands for each of the words that a command is fed by the one before it."""


def word_set(text: str) -> frozenset[str]:
    """The words of a table, written as text."""
    return frozenset(text.split())


class TooDeepError(Exception):
    """Nested or expanded beyond what is worth following."""


class Category(StrEnum):
    DELETION = "deletion"
    DISK = "disk"
    PERMISSIONS = "permissions"
    SYSTEM_FILES = "system_files"
    HISTORY = "history"
    CLOUD = "cloud"
    CONTAINERS = "containers"
    DATABASE = "database"
    SERVICES = "services"
    PACKAGES = "packages"
    FORK_BOMB = "fork_bomb"
    DOWNLOAD = "download"
    CREDENTIALS = "credentials"
    TRACES = "traces"
    REMOTE_CONTROL = "remote_control"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Judgement:
    """``word`` is what decided, as the shell would see it; ``span`` where it stands in the text, None if it is spelt differently there."""

    destructive: bool
    reason: str = "nothing destructive found"
    word: str = ""
    category: Category | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a command is destructive: what the word does, as a clause that follows it after a colon."""

    category: Category
    word: str
    reason: str


@dataclass(slots=True)
class Redirect:
    """``operator`` without its file descriptor: ``>``, ``>>``, ``<``, ``>|``, ``&>`` ..."""

    operator: str
    target: str


@dataclass(slots=True)
class Command:
    """One simple command, or a group if it has only ``inner``.

    ``inner`` are the scripts run inside it: substitutions, subshells, groups.
    ``stdin`` is the text it is fed by a heredoc or a herestring.
    ``processes`` are those of ``inner`` that stand as ``<(...)`` among its words.
    """

    words: list[str] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    inner: list[Script] = field(default_factory=list)
    stdin: str | None = None
    processes: list[Script] = field(default_factory=list)
    background: bool = False


Pipeline = list[Command]
Script = list[Pipeline]
