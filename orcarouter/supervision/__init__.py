"""Child processes: started, watched, started again, stopped in order.

``child`` is one process and its output, ``supervisor`` all of them. What the processes are, and why, is said by
``embedded/`` (the databases) and ``management/commands/up.py`` (everything else). Nothing here knows Django.
"""


class StartRefused(Exception):
    """The start can't go on. The message is one line for a person and says what to do."""
