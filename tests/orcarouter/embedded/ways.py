"""The ways a process may be run that decide how the servers are started: who it is, and what the kernel grants it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).parents[3]
HOLDER = Path(__file__).with_name("holder.py")
NOBODY = "65534"

# The interpreter may lie in root's own home, which an ordinary user is let read for the test.
AS_ORDINARY_USER = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
    "--",
]
AS_USER_WITHOUT_NAME = ["unshare", "--user", "--map-user=54321", "--map-group=54321", "--"]


class Holder:
    """A running `holder.py`; ``said`` is what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        self.process = process
        self.said = json.loads(process.stdout.readline() or "{}")

    def pid(self, server: str) -> int:
        return self.said["pids"][server]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(120)

    def kill(self, *servers: str) -> None:
        """Kill -9: the holder, and the servers named."""
        for pid in [self.process.pid, *map(self.pid, servers)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(120)


def hold(data_dir: Path, *, way: str = "as is") -> Holder:
    if way == "root without namespaces":
        return _without_namespaces(data_dir)
    prefix = {"as is": [], "ordinary user": AS_ORDINARY_USER, "user without a name": AS_USER_WITHOUT_NAME}[way]
    if prefix is AS_ORDINARY_USER:
        data_dir.mkdir(exist_ok=True)
        os.chown(data_dir, int(NOBODY), int(NOBODY))
    return Holder(_popen([*prefix, sys.executable, str(HOLDER), str(data_dir)]))


def _without_namespaces(data_dir: Path) -> Holder:
    """As root where no further user namespace is granted, with an /etc of its own, for a system user is made there."""
    etc = data_dir.parent / "etc"
    if not etc.exists():
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    inner = f"mount --bind {etc} /etc && echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} {HOLDER} {data_dir}"
    # A second shell: the first was started before it had a name, and so without its powers.
    process = _popen(["unshare", "--user", "--mount", "sh", "-c", f"read go; exec sh -c '{inner}'"])
    while os.readlink(f"/proc/{process.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        time.sleep(0.01)
    for kind in ("gid_map", "uid_map"):
        Path(f"/proc/{process.pid}/{kind}").write_text("0 0 4294967295")
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    return Holder(process)


def _popen(command: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/")


#: Every way that this test run can take: an ordinary user can only be itself.
WAYS = ["as is", "user without a name", *(["ordinary user", "root without namespaces"] if os.geteuid() == 0 else [])]
