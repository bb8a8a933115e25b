"""A supervisor over small children: `stack.py FOLDER NAME...`; a name that begins with `deaf` ignores being told to stop.

Each child writes what befalls it to FOLDER/story. FOLDER/up appears when all run.
"""

import logging
import sys
from pathlib import Path

from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import Child, python
from orcarouter.supervision.supervisor import Supervisor

CHILD = """
import os, pathlib, signal, sys
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def tell(what):
    with (folder / "story").open("a") as story:
        story.write(f"{name} {what}\\n")
def told(*_):
    tell("told")
    if not name.startswith("deaf"):
        tell("stopped")
        os._exit(0)
signal.signal(signal.SIGTERM, told)
tell("started")
# Whole at once: who finds it reads it.
(folder / f"{name}.new").write_text(f"{os.getpid()} {os.getsid(0)}")
(folder / f"{name}.new").rename(folder / f"{name}.pid")
while True:
    signal.pause()
"""


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    supervisor = Supervisor(folder / "children.json")
    supervisor.listen()
    supervisor.end_leftovers(grace=0.5)
    for name in names:
        started = folder / f"{name}.pid"
        started.unlink(missing_ok=True)
        arguments = [str(folder), name] if name != "broken" else ["no-such-folder/x", name]
        try:
            supervisor.start(Child(name, python("-c", CHILD, *arguments), ready=started.exists, on_line=lambda *_: None, grace=60))
        except StartRefused as refused:
            print(refused, flush=True)
            break
    else:
        (folder / "up").touch()
        supervisor.watch()
    supervisor.stop()


if __name__ == "__main__":
    main()
