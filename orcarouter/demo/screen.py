"""What a person reads: who did what, a line each, wrapped to the terminal; colour only where there is a terminal that wants it."""

import os
import shutil
import textwrap
from collections.abc import Iterable
from typing import Protocol

BOLD, DIM, RED, GREEN, BLUE, CYAN = "1", "2", "31", "32", "34", "36"
#: The colour of a verdict only helps: the word is always there.
OF_VERDICT = {"allow": GREEN, "audit": BLUE, "deny": RED}
NARROWEST, WIDEST = 40, 110
#: Columns of "who"; what they do begins two further on.
WHO = 9


class Out(Protocol):
    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


class Screen:
    """Prints to ``out``. ``width`` in columns; None: the terminal's."""

    def __init__(self, out: Out, width: int | None = None) -> None:
        self._out = out
        self._width = min(max(width or shutil.get_terminal_size((88, 24)).columns - 1, NARROWEST), WIDEST)
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def heading(self, place: str, title: str) -> None:
        """A line across with a title in it."""
        line = f"── {place} ── {title} "
        self._write("")
        self._write(self._in(line + "─" * max(self._width - len(line), 2), BOLD))

    def prose(self, text: str, style: str = "") -> None:
        for line in self._wrapped(text, self._width) or [""]:
            self._write(self._in(line, style))

    def says(self, who: str, text: str, *, word: str = "", style: str = "", whole: bool = False) -> None:
        """``who`` at the left, what it does beside it. ``word``, if given, comes first, in the colour of that verdict.

        ``whole`` keeps the text in one line, for addresses that are clicked.
        """
        lines = [text] if whole else self._wrapped(f"{word:<7}{text}" if word else text, self._width - WHO - 2)
        for place, line in enumerate(lines or [""]):
            shown = self._in(line, style)
            if word and not place:
                shown = self._in(line[: len(word)], OF_VERDICT.get(word, "")) + self._in(line[len(word) :], style)
            self._write(f"{self._in(f'{who if not place else str():>{WHO}}', DIM)}  {shown}")

    def outcome(self, problems: Iterable[str], moral: str) -> None:
        """How a story ended."""
        problems = list(problems)
        for problem in problems:
            self.says("NOT SO", problem, style=RED)
        if not problems:
            self.says("ending", moral, style=BOLD)

    def gap(self) -> None:
        self._write("")

    def _wrapped(self, text: str, width: int) -> list[str]:
        # What a model or a page wrote must not steer the terminal.
        plain = "".join(char if char.isprintable() else " " for char in text)
        return textwrap.wrap(plain, width, break_on_hyphens=False)

    def _in(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if style and self._coloured else text

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()
