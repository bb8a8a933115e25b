"""Whether a shell command is destructive, and why.

``parse`` reads the text (``words`` its words, ``scope`` keeps what it defines, ``expand`` and
``evaluate`` tell what its parts become), ``unwrap`` finds the commands inside commands by the
tables of ``wrappers``, and ``programs`` asks about each program what its subject knows:

files and disks   ``files`` ``searches`` ``edits`` ``permissions`` ``disks`` ``paths`` ``credentials``
the machine       ``system`` ``accounts`` ``containers`` ``windows``
what is elsewhere ``managers`` ``clouds`` ``databases`` ``network`` ``git``
programs in text  ``code``, ``recipes`` of task runners, ``written`` for files a text writes before it runs them

What is found may still be spared: ``trials`` knows what only shows what it would do. Little is: whoever wants something gone could say so.

``judge`` puts them together and is all that others call. Nothing is run, resolved or looked up.
"""

from firewall.engine.shell.judge import judge
from firewall.engine.shell.types import Category, Judgement

__all__ = ["Category", "Judgement", "judge"]
