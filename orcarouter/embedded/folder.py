"""The data folder: everything an installation keeps, for its owner alone."""

import fcntl
import hashlib
import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from orcarouter.supervision import StartRefused

#: The longest name a socket may have is 107 bytes; the longest we make in the folder is ``/.s.PGSQL.5432.lock``.
LONGEST_SOCKETS_FOLDER = 107 - len("/.s.PGSQL.5432.lock")


def sockets_folder(data_dir: Path) -> Path:
    """Where the sockets of a data folder are: inside it, or, its path being too long for that, in the temp folder.

    The latter's name follows from the data folder's, so that every process finds it, unless ``sockets-folder`` in the data
    folder records another (see `prepare_sockets_folder`).
    """
    inside = data_dir.resolve() / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKETS_FOLDER:
        return inside
    with suppress(FileNotFoundError):
        return Path((data_dir / "sockets-folder").read_text())
    name = f"orcarouter-{hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]}"
    temp = Path(tempfile.gettempdir())
    if len(os.fsencode(temp / name)) > LONGEST_SOCKETS_FOLDER:
        temp = Path("/tmp")  # noqa: S108 - TMPDIR is too long as well; the folder's owner and mode are looked at before it is used
    return temp / name


def prepare_sockets_folder(data_dir: Path, owner: int) -> Path:
    """Make the sockets' folder, 0700 and owned by user ``owner``; record it where it is not inside the data folder."""
    folder = sockets_folder(data_dir)
    inside = folder.parent == data_dir.resolve()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not inside and (not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), owner)):
        # Somebody else made it first: the temp folder is open to all.
        folder = Path(tempfile.mkdtemp(prefix="orcarouter-", dir=folder.parent))
    if not inside:
        record = data_dir / "sockets-folder.new"
        record.write_text(str(folder))
        record.rename(data_dir / "sockets-folder")
    folder.chmod(0o700)
    if folder.lstat().st_uid != owner:
        os.chown(folder, owner, -1)
    return folder


def prepare(data_dir: Path) -> None:
    """Make the data folder; raise `StartRefused` if it belongs to another user."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(f"The data folder {data_dir} can't be made ({error.strerror}): set ORCAROUTER_DATA to a folder of yours.") from error
    owner = data_dir.stat().st_uid
    if owner != os.geteuid():
        raise StartRefused(
            f"The data folder {data_dir} belongs to {user_name(owner)} and this is {user_name(os.geteuid())}: "
            f"start as {user_name(owner)}, or set ORCAROUTER_DATA to another folder."
        )
    # 0711 is for a system user on its way to its own folders (see `account`).
    if stat.S_IMODE(data_dir.stat().st_mode) not in {0o700, 0o711}:
        data_dir.chmod(0o700)


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


class Lock:
    """Held by the one process that runs the servers of a data folder; the kernel lets go of it whatever becomes of that process."""

    def __init__(self, data_dir: Path) -> None:
        self._file = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode() or "unknown"
            os.close(self._file)
            raise StartRefused(
                f"OrcaRouter already runs on {data_dir} (process {holder}): stop it first, or set ORCAROUTER_DATA and PORT for a second one."
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._file)
