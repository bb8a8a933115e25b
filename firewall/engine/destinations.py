"""Where a call goes, as far as its arguments say: hosts and URLs in any spelling, under any name that announces one.

Nothing is resolved here. An address is judged by what it is and not by how it is spelt; what two readers might read differently
is unreadable, and counts as the worst that it could be (see ``egress``). Source: spec/firewall.md 2.6.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote

from firewall.engine import enclosed
from firewall.engine.arguments import decoded
from workspaces.engine.addresses import Address, is_inner_name, is_public, parse_host, unmapped

MAX_HOST_CHARS = 255
#: More of them in one call than anybody would judge: all the rest counts as one that cannot be read.
MAX_DESTINATIONS = 64

_LOOPBACK = ("127.0.0.1", "::1")
#: Names that lead to an address without any resolver's say: this machine, and the metadata services of the clouds.
_KNOWN: Mapping[str, tuple[str, ...]] = (
    dict.fromkeys(("localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "loopback", "broadcasthost"), _LOOPBACK)
    | dict.fromkeys(("localhost.localdomain", "localhost4.localdomain4", "localhost6.localdomain6"), _LOOPBACK)
    | dict.fromkeys(
        (
            *("metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "metadata.internal", "metadata.ec2.internal"),
            *("instance-data", "instance-data.ec2.internal", "api.metadata.cloud.ibm.com", "metadata.cloud.ibm.com", "metadata.oraclecloud.com"),
            *("metadata.platformequinix.com", "metadata.packet.net", "rancher-metadata", "rancher-metadata.rancher.internal", "metadata.openstack.org"),
        ),
        ("169.254.169.254",),
    )
    | {"metadata.tencentyun.com": ("169.254.0.23",), "metadata.aliyuncs.com": ("100.100.100.200",)}
)
#: Regional names of AWS's metadata service: instance-data.eu-west-1.compute.internal
_INSTANCE_DATA = re.compile(r"instance-data(?:\.[a-z0-9-]+)*\.internal")

_METADATA = re.compile(r"(?:metadata|instance-?data|imds|computemetadata)\b")

# Hints: public names that are made to lead inside. They are looked up where lookups are made, and suspected everywhere.
_DOTTED = re.compile(r"(?<![0-9])([0-9]{1,3})([.-])([0-9]{1,3})\2([0-9]{1,3})\2([0-9]{1,3})(?![0-9])")
_HEXADECIMAL = re.compile(r"(?:^|[.-])([0-9a-f]{8})(?=[.-])")
_SPELT_IN = (".nip.io", ".sslip.io", ".xip.io", ".nip.direct", ".rbndr.us", ".1u.ms", ".backname.io", ".traefik.me", ".ip.addr.tools")
_LEAD_HOME = (
    *("localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "localho.st", "localh.st", "fuf.me", "ulh.us", "localhost.direct", "localdev.me"),
    *("smackaho.st", "loopback.jp", "localdomain.pw", "spoofed.burpcollaborator.net", "bugbounty.dod.network", "mail.ebc.apple.com"),
)

#: Schemes whose first part names a bucket, and where that is kept.
_KEPT_AT = dict.fromkeys(("s3", "s3a", "s3n"), "s3.amazonaws.com") | dict.fromkeys(("gs", "gcs"), "storage.googleapis.com")
#: Schemes by which a reader of URLs reaches into files or other protocols, whatever host they name.
_SMUGGLERS = re.compile(r"(?:gopher|dict|tftp|netdoc|jar|phar|php|expect|zip|compress\.zlib|ogg|glob):", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

#: One scheme may stand in another (jdbc:mysql://host), but not in those whose slashes some readers do without.
_SCHEMES = r"(?:(?i:(?!(?:https?|wss?|ftp|file):))[A-Za-z][A-Za-z0-9+.-]*:)*[A-Za-z][A-Za-z0-9+.-]*:"
_AUTHORITY = re.compile(rf"(?:{_SCHEMES})?//(?P<authority>[^/?#]*)|(?P<bare>[^/?#]*)")
_USER = re.compile(r"(?P<name>[A-Za-z0-9._~!$&'()*+,;=%-]*)(?P<rest>:[A-Za-z0-9._~!$&'()*+,;=:%-]*)?@")
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
#: What git and scp read: ``user@host:path``. With a number for a path others read a port, of the same host.
_COPIED = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[A-Za-z0-9._-]+):(?=\D)[\w~./-]*")
#: Blanks behind the authority change nobody's mind about the host, as long as no other could begin there.
_SPACED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]+[/?#](?:(?!//)[^@])*")
#: A second ``@``, beyond what the standard calls the authority: some take what follows it for the host.
_SECOND_HOST = re.compile(r"[#?][^/]*@(?P<host>\[[^\]]*\]|[^/?#@:]+)")

#: Words of a name that say that the value is a destination, those that only may, and those of values that somebody runs.
_SURE = frozenset(("url", "urls", "uri", "uris", "href", "host", "hosts", "hostname", "hostnames", "endpoint", "endpoints", "webhook"))
_MAYBE = frozenset(
    (
        *("address", "addresses", "addr", "addrs", "fqdn", "dst", "dest", "ip", "ips", "domain", "domains", "target", "targets"),
        *("server", "servers", "site", "website", "link", "links"),
        *(
            "origin",
            "destination",
            "destinations",
            "remote",
            "proxy",
            "src",
            "location",
            "callback",
            "redirect",
            "gateway",
            "node",
            "nodes",
            "peer",
            "peers",
            "upstream",
        ),
        *("broker", "brokers", "mx", "nameserver", "nameservers", "resolver", "proxies", "registry", "machine", "machines"),
    )
)
#: Below it a decimal number is an address in 0.0.0.0/8, and nobody's.
_SMALL = 2**24
_RUN = frozenset(("command", "commands", "cmd", "cmds", "script", "code", "argv", "args", "arguments", "shell", "bash", "dsn"))
#: Fields whose text may be a whole call or message: JSON, or a form.
_BODIES = frozenset(
    ("body", "payload", "param", "params", "parameters", "args", "arguments", "input", "inputs", "request", "options", "opts", "json", "data", "form")
)
#: Bodies within bodies that are opened.
_MAX_BODIES = 8
_WORD = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z0-9]+")

_NUMBER = r"(?:0[xX][0-9a-fA-F]+|[0-9]+)"
_MENTION = re.compile(
    r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]{1,20}:[/\\]{2,4}[^\s\"'`<>|;,(){}]+)"
    # Words that are an address or a known name. Plain fractions and small numbers are not: 'sleep 0.5' goes nowhere.
    # Nor is the version of a package: 'x==10.0.0.1'.
    r"|(?<![\w.:/@-])(?<![=~<>!]=)(?:[\w.-]+@)?(?P<host>\[[0-9a-fA-F:.%]{2,60}\]|" + _NUMBER + r"(?:\." + _NUMBER + r"){1,3}|0[xX][0-9a-fA-F]{7,8}|[0-9]{10}"
    r"|(?:metadata|instance-data)\.[a-z0-9.-]+)\.?(?::[0-9]{1,5})?(?![\w.-])"
)
#: More mentions in one command than anybody would write: all the rest counts as one that cannot be read.
_MAX_MENTIONS = 1024
#: What a shell or curl is told to connect to, whatever the URL says.
_CONNECTED = re.compile(r"/dev/(?:tcp|udp)/(?P<host>[^/\s]{1,255})/|--(?:resolve|connect-to)[ =]+[\"']?(?P<map>[^\s\"']{1,1024})")
_OF_MAP = re.compile(r"\[[^\]]*\]|[^:,+]+")


@dataclass(frozen=True, slots=True)
class Destination:
    """``host`` is a name in lower-case ASCII without a final dot, the text of an address, or what was written where it ``is_unreadable``.

    ``addresses`` are what a name resolved to; None: nobody resolved it, and it is judged by its spelling. ``hints`` are addresses
    that the spelling suggests: enough to stop a call, never to let one through. ``is_guess``: its field does not say so for
    certain, so that it counts only where it leads somewhere. ``is_mention``: found inside a command; it may stop a call, and as
    it is not all that the command does, it lets none through.
    """

    host: str
    port: int | None = None
    addresses: tuple[Address, ...] | None = None
    is_unreadable: bool = False
    hints: tuple[Address, ...] = ()
    is_guess: bool = False
    is_mention: bool = False

    @property
    def needs_resolving(self) -> bool:
        """Whether its name is to be looked up. Names in a command are not: whoever writes it could tell a name server what they like."""
        return not self.is_unreadable and self.addresses is None and not self.is_mention

    @property
    def shown(self) -> str:
        """For a reason: printable, and no longer than a host."""
        return self.host.encode("unicode_escape").decode("ascii")[:MAX_HOST_CHARS]

    @property
    def is_usable(self) -> bool:
        """False for what cannot be read, and for a name that resolved to nothing."""
        return not self.is_unreadable and self.addresses != ()

    @property
    def is_inner(self) -> bool:
        """A name that nobody resolved, and that means nothing outside some network."""
        return self.addresses is None and not self.is_unreadable and is_inner_name(self.host)


# --- One destination ------------------------------------------------------------------------------------------------
def destination(text: str) -> Destination:
    """Read a host, ``host:port`` or URL, in any spelling of its address. What two parsers might read differently is unreadable."""
    shown = text[:MAX_HOST_CHARS]
    unreadable = Destination(shown, is_unreadable=True)
    if copied := _COPIED.fullmatch(text):
        text = f"//{copied['user']}@{copied['host']}"
    if not text.isprintable() or "\\" in text or (" " in text and not _SPACED.fullmatch(text)) or _SMUGGLERS.match(text):
        return unreadable
    if (plain := _plain_v6(text)) is not None:
        return Destination(str(plain), None, (plain,))
    parts = _AUTHORITY.match(text)
    authority = (parts["authority"] if parts["authority"] is not None else parts["bare"]) if parts else ""
    if "@" in authority:
        user = _USER.match(authority)
        # A user name that is an address: a careless reader takes it for the host.
        authority = authority[user.end() :] if user and _is_user(user["name"]) else "@"
    form = _HOST_PORT.fullmatch(authority)
    # A port that is announced and missing, before no authority: a scheme whose slashes were lost, which some repair.
    if form is None or not form["host"] or (parts and parts["bare"] is not None and form["port"] == ""):
        return unreadable
    try:
        host = parse_host(form["host"])
    except ValueError:
        return unreadable
    port = int(form["port"]) if form["port"] else None
    if port is not None and not 0 < port < 65536:
        return unreadable
    if parts and (second := _SECOND_HOST.match(text, parts.end())) and _is_address(second["host"]):
        return unreadable
    if isinstance(host, str):
        kept = (scheme := _SCHEME.match(text)) and _known(host) is None and _KEPT_AT.get(scheme[1].lower())
        return Destination(kept, port) if kept else Destination(host, port, _known(host), hints=_hinted(host))
    return Destination(str(host), port, (host,), hints=_in_decimal(form["host"]))


def _plain_v6(text: str) -> Address | None:
    """IPv6 without brackets, which no URL has. A zone is not part of an address that leaves this host."""
    try:
        return unmapped(ip_address(text)) if ":" in text and "%" not in text else None
    except ValueError:
        return None


def _in_decimal(text: str) -> tuple[Address, ...]:
    """An address that some read otherwise: 010.0.0.1 is 8.0.0.1 by the standard, and 10.0.0.1 to whoever drops leading zeros."""
    if "0" not in text or ":" in text:
        return ()
    try:
        found = parse_host(re.sub(r"(?<![0-9A-Fa-fxX])0+(?=[0-9])", "", unicodedata.normalize("NFKC", text)))
    except ValueError:
        return ()
    return () if isinstance(found, str) else (found,)


def _is_user(name: str) -> bool:
    """Whether nobody could take a user name for the host."""
    return not _is_address(name) or "." not in name


def _is_address(text: str) -> bool:
    """Whether a text, as far as it could be a host, is an address or leads to one without any resolver's say."""
    text = unquote(text)
    try:
        host = parse_host(text if text.startswith("[") else re.split(r"[^\w.-]", text, maxsplit=1)[0])
        return not isinstance(host, str) or _known(host) is not None
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _known(name: str) -> tuple[Address, ...] | None:
    if name.endswith(".localhost"):
        name = "localhost"
    elif _INSTANCE_DATA.fullmatch(name):
        name = "instance-data"
    texts = _KNOWN.get(name)
    return tuple(map(ip_address, texts)) if texts else None


@lru_cache(maxsize=4096)
def _hinted(name: str) -> tuple[Address, ...]:
    """Addresses that a public name spells, or is known to lead to: app-10-0-0-1.sslip.io, 7f000001.c0a80001.rbndr.us, x.lvh.me."""
    if name in _LEAD_HOME or name.endswith(tuple(f".{each}" for each in _LEAD_HOME)):
        return (ip_address("127.0.0.1"),)
    if _METADATA.match(name) and is_inner_name(name):
        return (ip_address("169.254.169.254"),)
    texts = [".".join(str(int(part)) for part in form.group(1, 3, 4, 5)) for form in _DOTTED.finditer(name)]
    found = [ip_address(text) for text in texts if all(int(part) < 256 for part in text.split("."))]
    if name.endswith(_SPELT_IN):
        found += [ip_address(int(form[1], 16)) for form in _HEXADECIMAL.finditer(name)]
        parts = name.rsplit(".", 2)[0].rpartition(".")[2].split("-")
        # app-fd00--1.sslip.io: an IPv6 address takes at most eight parts from the right.
        spelt = (":".join(parts[start:]) for start in range(max(0, len(parts) - 9), len(parts) - 1))
        found += filter(None, map(_plain_v6, spelt))
    return tuple(found)


# --- All of a call's ------------------------------------------------------------------------------------------------
def destinations(root: Mapping | None) -> tuple[Destination, ...]:
    """Every destination in a call's arguments, by the name of its field, because the whole value is a place, or as a command mentions it.

    In their order, each once. ``root`` None (arguments that cannot be read) is one that cannot be read.
    """
    if root is None:
        return (Destination("", is_unreadable=True),)
    found: dict[Destination, None] = {}
    mentions: dict[Destination, None] = {}
    for each in (each for text, kind in _candidates(root) for each in _told(text.strip(), kind)):
        (mentions if each.is_mention else found)[each] = None
        if len(found) > MAX_DESTINATIONS or len(mentions) > _MAX_MENTIONS:
            found = dict.fromkeys([*found][:MAX_DESTINATIONS])
            found[Destination(f"and more than {len(found)} others", is_unreadable=True)] = None
            break
    return (*found, *mentions)


def _told(text: str, kind: str) -> Iterator[Destination]:
    """What a value says, by how its field puts it."""
    urls = enclosed.urls(text)[: MAX_DESTINATIONS + 1]
    if kind == "run" and not urls:
        yield from _mentioned(text)
        return
    if kind == "sure":
        yield destination(text)
    elif urls:
        yield from map(destination, urls)
    elif _looks_like_one(each := destination(enclosed.place(text) or text), text):
        yield replace(each, is_guess=True)
    elif kind and each.is_unreadable:
        # A list of several, or words that may be anything.
        yield from _mentioned(text)
    for url in urls or ((text,) if kind in ("sure", "maybe") else ()):
        yield from _carried(url)


def _carried(url: str) -> Iterator[Destination]:
    """Where else a URL may lead, if that is inside: by a redirect, or by a proxy that fetches it."""
    for name, text in enclosed.carried(url):
        found = destination(text.replace("\\", "/"))
        # RFC 8252, 7.3: whoever signs in from a program of their own is sent back to a port of their own machine.
        is_sign_in = name == "redirect_uri" and _is_home(found)
        if not is_sign_in and (found.is_inner or any(not is_public(address) for address in (*(found.addresses or ()), *found.hints))):
            yield replace(found, port=None, is_mention=True)


def _is_home(to: Destination) -> bool:
    return bool(to.addresses) and all(each.is_loopback or each.is_unspecified for each in to.addresses or ())


def of_call(told: str | None, arguments: str) -> tuple[Destination, ...]:
    """Where a call goes by what its caller says, and by what its arguments (the JSON text) say."""
    said = () if told is None else (destination(told), *_carried(told))
    return tuple(dict.fromkeys((*said, *destinations(decoded(arguments)))))


def _looks_like_one(found: Destination, text: str) -> bool:
    is_number = text.isdecimal() and int(text) < _SMALL
    return not found.is_unreadable and not is_number and ("." in found.host or ":" in found.host or found.addresses is not None)


def _candidates(root: Mapping) -> Iterator[tuple[str, str]]:
    """Texts that may be a destination or have one inside, and how their field puts it."""
    waiting: list[tuple[str, object, int]] = [("", root, 0)]
    while waiting:
        kind, value, bodies = waiting.pop()
        match value:
            case Mapping():
                # What lies inside an endpoint may be its host. In a body a URL may be one, or a part of what is said.
                inside = "maybe" if kind in ("sure", "maybe") else kind
                kinds = ((_kind(name[-64:]) or inside, each) for name, each in reversed([*value.items()]))
                waiting += [("maybe" if bodies and kind == "sure" else kind, each, bodies) for kind, each in kinds]
                yield from ((name, "") for name in value if "//" in name)
                for name, each in value.items() if bodies < _MAX_BODIES else ():
                    if isinstance(each, str) and (bodies or _is_body(name[-64:])) and (opened := enclosed.fields(each)):
                        waiting.append(("", opened, bodies + 1))
            case list():
                waiting += [(kind, each, bodies) for each in reversed(value)]
            case str() if value:
                if kind or "//" in value or ("@" in value and _COPIED.fullmatch(value)) or enclosed.place(value):
                    yield value, kind
            case int() if kind in ("sure", "maybe") and _SMALL <= value < 2**32:
                # As decimal numbers are addresses too; a small one is a number, and so is a truth value.
                yield str(value), "maybe"


@lru_cache(maxsize=4096)
def _is_body(name: str) -> bool:
    words = _WORD.findall(name)
    return bool(words) and words[-1].lower() in _BODIES


@lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    """How a field with a name that ends so puts what it holds."""
    # host1 and url_2 are a host and a URL.
    words = _WORD.findall(name.rstrip("0123456789"))
    if len(words) > 1 and words[-1] in ("name", "Name", "NAME"):
        words.pop()
    if len(words) > 1 and words[-1].lower() == "string" and words[-2].lower() in ("connection", "conn"):
        return "run"
    word = words[-1].lower() if words else ""
    return "sure" if word in _SURE else "maybe" if word in _MAYBE else "run" if word in _RUN else ""


def _mentioned(command: str) -> Iterator[Destination]:
    """Where a command says that it goes. Its own machine is no destination: a command talks to that without leaving it."""
    for form in _CONNECTED.finditer(command):
        for text in [form["host"]] if form["host"] else _OF_MAP.findall(form["map"]):
            if (found := destination(text)).addresses:
                yield replace(found, port=None, is_mention=True)
    for place, form in enumerate(_MENTION.finditer(command)):
        if place > 8 * _MAX_MENTIONS:
            yield Destination("and more", is_unreadable=True)
            return
        text = form["url"] or form["host"]
        if form["url"] is None and not _is_numeric_host(text):
            continue
        found = destination(text.replace("\\", "/"))
        yield from (each for each in (replace(found, port=None, is_mention=True), *_carried(text)) if not each.is_unreadable and not _is_home(each))


def _is_numeric_host(text: str) -> bool:
    """Whether a word can only be meant as an address: four parts, another base, or a part too large for anything but a short form."""
    parts = text.split(".")
    return not text[0].isdigit() or len(parts) in (1, 4) or "x" in text.lower() or len(parts[-1]) > 3
