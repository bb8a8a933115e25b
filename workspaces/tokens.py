"""How a secret that is shown once looks: a prefix that says what it is, then base62 from the system's CSPRNG."""

import re
import secrets
import string

_BASE62 = string.digits + string.ascii_letters
_SHOWN = re.compile(r"(sk-orca-|orca-pat-|orca-inv-)(\w{4})\w+(\w{4})", re.ASCII)


def new_token(prefix: str, length: int) -> str:
    """``prefix`` and ``length`` random characters; 40 of them carry 238 bits."""
    return prefix + "".join(secrets.choice(_BASE62) for _ in range(length))


def masked(token: str) -> str:
    """``sk-orca-a1b2****yz90``; what is not one of our tokens shows nothing of itself."""
    found = _SHOWN.fullmatch(token)
    return "{}{}****{}".format(*found.groups()) if found else "****"
