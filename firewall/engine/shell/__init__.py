"""Whether a shell command is destructive, and why.

``parse`` reads the text (``scope`` keeps what it defines, ``expand`` and ``evaluate``
tell what its parts become), ``unwrap`` finds the commands inside commands, and the
rules judge programs by their words: ``files``, ``edits``, ``credentials``, ``git``,
``managers``, ``accounts``, ``system``, ``databases``, ``network``, ``code``, ``windows``.
``judge`` puts them together and is all that others call. Nothing is run, resolved or looked up.
"""

from firewall.engine.shell.judge import judge
from firewall.engine.shell.types import Category, Judgement

__all__ = ["Category", "Judgement", "judge"]
