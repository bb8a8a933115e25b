"""The four secrets of an installation.

They come from the environment, each as ``NAME`` or, in the file that ``NAME_FILE`` names, as containers hand them out. With
the embedded database they are made at first start and kept in ``secrets.json`` of the data folder, 0600. The settings read
them here; no Django.
"""

import base64
import binascii
import functools
import json
import logging
import os
import secrets
import stat
import tempfile
from pathlib import Path

NAMES = ("SECRET_KEY", "KEY_PEPPER", "ENCRYPTION_KEY", "SIGNING_KEY")
#: These two are keys of 32 bytes in base64; the others any text of at least `SHORTEST` characters.
KEYS_OF_32_BYTES = {"ENCRYPTION_KEY", "SIGNING_KEY"}
SHORTEST = 32

PROJECT = Path(__file__).resolve().parent.parent


class SecretRefused(SystemExit):
    """A missing or malformed secret: ends the process with one line that names it, whichever process it is."""


def secret(name: str) -> str:
    """The secret called ``name``, one of `NAMES`. Raises `SecretRefused`."""
    value = _from_environment(name)
    if value is None and not os.environ.get("DATABASE_URL"):
        value = load(Path(os.environ.get("ORCAROUTER_DATA") or PROJECT / ".data")).get(name)
    if not value:
        raise SecretRefused(f"{name} is not set: give it, or the file that holds it as {name}_FILE. OrcaRouter makes its own only with the embedded database.")
    _check(name, value)
    return value


@functools.cache
def load(data_dir: Path) -> dict[str, str]:
    """The secrets kept in a data folder, made now if there are none. Processes that come at the same time get the same ones."""
    file = data_dir / "secrets.json"
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        _make(file)
    except (PermissionError, NotADirectoryError) as error:
        raise SecretRefused(f"{file} can't be read ({error.strerror}): start as the user that owns it, or set ORCAROUTER_DATA to a folder of yours.") from error
    except ValueError as error:
        raise SecretRefused(f"{file} is damaged ({error}): put back a copy of it. What it sealed can't be read with new secrets.") from error
    return json.loads(file.read_text())


def _make(file: Path) -> None:
    made = {name: _random_key() if name in KEYS_OF_32_BYTES else secrets.token_urlsafe(48) for name in NAMES}
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix="secrets.", dir=file.parent)  # 0600
    except OSError as error:
        raise SecretRefused(f"{file} can't be written ({error.strerror}): set ORCAROUTER_DATA to a folder of yours.") from error
    with os.fdopen(handle, "w") as out:
        json.dump(made, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    try:
        # A link is made whole or not at all, and never over another process's: the first one wins.
        os.link(unfinished, file)
    except FileExistsError:
        return
    finally:
        os.unlink(unfinished)
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _from_environment(name: str) -> str | None:
    if value := os.environ.get(name):
        return value
    if not (named := os.environ.get(f"{name}_FILE")):
        return None
    try:
        if Path(named).stat().st_mode & stat.S_IROTH and not named.startswith("/run/secrets/"):
            logging.getLogger(__name__).warning("%s_FILE may be read by every user of this machine: chmod 0600 %s", name, named)
        return Path(named).read_text().strip()
    except OSError as error:
        raise SecretRefused(f"{name}_FILE names {named}, which can't be read: {error.strerror}.") from error


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _check(name: str, value: str) -> None:
    if name not in KEYS_OF_32_BYTES:
        if len(value) < SHORTEST:
            raise SecretRefused(f"{name} has {len(value)} characters and needs at least {SHORTEST}.")
        return
    try:
        size = len(base64.b64decode(value, validate=True))
    except binascii.Error:
        size = 0
    if size != 32:
        raise SecretRefused(f"{name} must be 32 bytes in base64, as `openssl rand -base64 32` prints them.")
