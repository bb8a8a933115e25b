"""Who runs the servers. PostgreSQL refuses to run as root, and as a user that has no name."""

import logging
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orcarouter.embedded.folder import user_name
from orcarouter.supervision import StartRefused

#: The system user that runs the servers where root may not make a user namespace.
SYSTEM_USER = "orcarouter"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """``prefix`` runs a command as this account; ``uid`` is who owns its files, as seen from outside."""

    prefix: tuple[str, ...]
    uid: int

    def own(self, folder: Path) -> Path:
        """A folder that this account alone may enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != self.uid:
            os.chown(folder, self.uid, -1)
        return folder


def account_for(data_dir: Path, binaries: list[Path]) -> Account:
    """The account that runs the servers of a data folder.

    An ordinary user runs them itself. Root, and a user without a name, go through a user namespace that maps them to
    ``nobody``: outside, the files stay their own. Where namespaces are refused (containers mostly), root uses a system user.
    What a folder was begun with it is gone on with. Raises `StartRefused`.
    """
    began_by = _owner_of_database(data_dir)
    if began_by is not None and began_by not in (os.geteuid(), _system_uid()):
        raise StartRefused(
            f"The database in {data_dir} belongs to {user_name(began_by)}: start as {user_name(began_by)}, or set ORCAROUTER_DATA to another folder."
        )
    if os.geteuid() != 0 and _has_name():
        return Account((), os.geteuid())
    if began_by in (None, os.geteuid()) and (mapped := _namespace()):
        return Account(mapped, os.geteuid())
    if os.geteuid() != 0:
        raise StartRefused(f"PostgreSQL needs a user with a name and this is number {os.geteuid()}: run as a user of /etc/passwd.")
    return _system_account(data_dir, binaries)


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def _owner_of_database(data_dir: Path) -> int | None:
    try:
        return (data_dir / "postgres").stat().st_uid
    except FileNotFoundError:
        return None


def _system_uid() -> int | None:
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_uid
    except KeyError:
        return None


def _namespace() -> tuple[str, ...]:
    """The command that runs another as ``nobody`` of a new user namespace; empty where the kernel refuses one."""
    command = ("unshare", "--user", f"--map-user={pwd.getpwnam('nobody').pw_uid}", "--")
    try:
        refused = subprocess.run([*command, "true"], check=False, capture_output=True, timeout=10).returncode
    except FileNotFoundError:
        return ()
    return () if refused else command


def _system_account(data_dir: Path, binaries: list[Path]) -> Account:
    if _system_uid() is None:
        logger.warning("User namespaces are refused here: making the system user %s, which will run the databases.", SYSTEM_USER)
        made = subprocess.run(
            ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=False,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise StartRefused(f"The system user {SYSTEM_USER} can't be made ({made.stderr.strip()}): run as an ordinary user.")
    logger.info("The databases run as the system user %s: user namespaces are refused here.", SYSTEM_USER)
    prefix = ("setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--init-groups", "--")
    # It enters its own folders below this one; what else is here stays closed to it, file by file.
    data_dir.chmod(0o711)
    for path in [data_dir, *binaries]:
        if subprocess.run([*prefix, "test", "-x", str(path)], check=False, capture_output=True).returncode:
            raise StartRefused(
                f"User namespaces are refused here, and the system user {SYSTEM_USER} may not enter {path}: move OrcaRouter out of a private folder "
                "(to /opt/orcarouter, say), or run it as an ordinary user."
            )
    uid = pwd.getpwnam(SYSTEM_USER).pw_uid
    if _owner_of_database(data_dir) == 0:
        # Begun in a namespace, moved to where there are none.
        subprocess.run(["chown", "-R", "--no-dereference", str(uid), str(data_dir / "postgres")], check=True)
    return Account(prefix, uid)
