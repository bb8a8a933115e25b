"""Whether an address is free, and whether somebody answers there."""

import secrets
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from orcarouter.supervision import StartRefused


def refuse_taken(host: str, port: int) -> None:
    """Raise `StartRefused` if nobody could listen there now."""
    if not 1 <= port <= 65535:
        raise StartRefused(f"PORT={port} is no port: take one from 1 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise StartRefused(f"HOST={host} PORT={port} is no address of this machine ({error}).") from error
    with socket.socket(family, kind, protocol) as listener:
        # As the web process will: connections of an earlier one, still fading, are no hindrance.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1)
        except PermissionError as error:
            raise StartRefused(f"PORT={port} needs root: take one above 1023, as in `PORT=8000 make run`.") from error
        except OSError as error:
            raise StartRefused(
                f"PORT={port} on {host} can't be used ({error.strerror}): stop what listens there, or take another, as in `PORT={other(port)} make run`."
            ) from error


def free_ports(count: int) -> list[int]:
    """Ports of this machine for who is to listen there later.

    Below those that the kernel gives out by itself: no connection and no other server comes by one of them meanwhile.
    """
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", 20_000 + secrets.randbelow(12_000)))
                found.append(probe.getsockname()[1])
    return found


def answers(path: Path) -> bool:
    """Whether a server listens on the socket at ``path``."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def other(port: int) -> int:
    return port + 1 if port < 65535 else port - 1
