"""What a text made itself, so that it may take it away again: ``createdb x && ./test && dropdb x``.

Only what fails where the thing is there already counts as making it; of a file or folder also what cannot well be meant for one that matters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call
from firewall.engine.shell.databases import CLIENTS, CREATES, DROPS, sql
from firewall.engine.shell.trials import pretends
from firewall.engine.shell.types import MADE, Category, Command, Finding, Script, word_set

MAX_CREATED_CHARS = 4_096

_POSTGRES = ("createdb", "dropdb", "createuser", "dropuser", "psql", "pgcli")
#: What one program of a family makes, another takes away.
_FAMILIES: dict[str, str] = {
    **dict.fromkeys(("docker", "podman", "nerdctl"), "docker"),
    **dict.fromkeys(("kubectl", "oc"), "kubectl"),
    **dict.fromkeys(_POSTGRES, "postgres"),
    **dict.fromkeys(("hdfs", "hadoop"), "hdfs"),
    **dict.fromkeys(("mysqladmin", "mariadb-admin", "mysql", "mariadb"), "mysql"),
    **dict.fromkeys(("useradd", "adduser", "userdel", "deluser"), "users"),
    **dict.fromkeys(("groupadd", "addgroup", "groupdel", "delgroup"), "groups"),
    **dict.fromkeys(("lvcreate", "lvremove"), "lvm"),
    **{
        name: name
        for name in word_set(
            """
            kind k3d minikube eksctl aws awslocal gcloud az gsutil bq doctl hcloud git lxc incus multipass zfs helm ip losetup
            rabbitmqadmin nats vault consul nomad virsh gh heroku fly flyctl terraform tofu pulumi
            """
        )
    },
}
_MAKES = word_set("create run mkdir add new init launch clone mb install import start createuser createdb -mkdir")
_TAKES = word_set("delete rm remove rmi rmr del destroy drop kill stop down uninstall terminate rb undefine dropdb dropuser deluser userdel lvremove purge D")
_EVERYTHING = frozenset({"--all", "-A", "--all-namespaces", "--all-projects"})
#: Said of what is made or taken by one of the two and not by the other.
_KINDS = word_set("branch container image pod pods")
_NAMED = re.compile(r"--(?:[a-z-]+-)?(?:name|identifier|id|ids|bucket|names|cluster)")
#: Options that name what the thing lies in: whatever is in one that was made was made as well.
_WITHIN = ("-n", "--namespace", "-g", "--resource-group", "--project", "--context", "--kube-context", "-d", "--dbname", "--dataset_id")
_FILE_MAKERS = frozenset({"mkdir", "touch", "fallocate", "truncate", "git", "virtualenv", "python", "python3", "uv", "cp", "unzip", "dd"})
_NOTED = _FAMILIES.keys() | _FILE_MAKERS | CLIENTS | {"cd", "pushd", "popd"}
_FILE_TAKERS = frozenset({"rm", "rmdir", "unlink", "shred", "remove-item", "rimraf", "trash", "mkswap", "ri", "rd", "del"})


@dataclass(slots=True)
class Made:
    """The names by family of programs, the statements of SQL, and the paths."""

    names: dict[str, set[str]] = field(default_factory=dict)
    statements: str = ""
    paths: set[str] = field(default_factory=set)
    script: Script = field(default_factory=list)
    again: tuple[Script, set[str]] | None = None
    place: str = ""

    def made_again(self) -> set[str]:
        """What a build of the script being judged writes, wherever in it: it takes its own work away first."""
        if self.again is None or self.again[0] is not self.script:
            written = {path for pipeline in self.script for command in pipeline for path in _built(command)}
            self.again = self.script, {path for path in written if not path.startswith(("/", "~", "$", "..")) and _may_be_new(path)}
        return self.again[1]

    def enter(self, folder: str) -> None:
        """``cd``: where one stands matters if it is a folder that may be lost as a whole."""
        bare = folder.rstrip("/")
        if paths.temporary(folder) or bare in self.paths or (self.place and not folder.startswith(("/", "~", "$", "-", ".."))):
            self.place = bare
        else:
            self.place = ""

    def note(self, call: Call, command: Command) -> None:
        if call.name not in _NOTED:
            return
        if call.name in ("cd", "pushd", "popd"):
            self.enter("".join(call.operands[:1]))
            return
        if call.name in _FILE_MAKERS and not pretends(call):
            self.paths.update(path.rstrip("/").removeprefix("./") for path in _paths_made(call) if _may_be_new(path))
        if call.name in CLIENTS:
            created = "".join(f"{found.group(0)};" for text in (*call.args, call.fed or "") for found in CREATES.finditer(text))
            self.statements = (self.statements + created)[:MAX_CREATED_CHARS]
        family = _FAMILIES.get(call.name)
        # Who does not want to hear of a failure may be told that it is there already.
        if (
            family is None
            or command.excused
            or pretends(call)
            or any(redirect.target == "/dev/null" for redirect in command.redirects if redirect.operator != "<")
        ):
            return
        if names := set(_names_made(call)):
            self.names.setdefault(family, {MADE}).update(names)

    def owns(self, call: Call, found: Finding) -> bool:
        """Whether all that ``call`` takes away, which is why it was ``found``, was made before."""
        if call.name in _FILE_TAKERS:
            targets = [word for word in call.operands if not word.startswith("/") or len(word) > 2]
            again = self.made_again()
            bare = [target.rstrip("/").removeprefix("./") for target in targets if not paths.harmless(target)]
            return bool(bare) and all(target in self.paths or target in again for target in bare)
        if call.name == "git" and not {"push", "send-pack", "config"} & set(call.operands[:3]):
            folder = call.value("-C") or ""
            if self.place or paths.temporary(folder) or folder.rstrip("/") in self.paths:
                return True
        if call.name in CLIENTS and found.category is not Category.DATABASE:
            return False
        if self.statements and found.reason == DROPS and not any(sql(f"{self.statements}{text}") for text in (*call.args, call.fed or "")):
            return True
        family = _FAMILIES.get(call.name, "")
        made = self.names.get(family, {MADE})
        if family == "" or not call.flags.isdisjoint(_EVERYTHING):
            return False
        if within := call.value(*_WITHIN):
            if within.removeprefix("kind-") in made:
                return True
        elif call.name in CLIENTS and call.operands[:1] and call.operands[0] in made:
            return True
        taken = [word.rpartition("/")[2] if family == "kubectl" else word for word in _named(call) if word not in _KINDS]
        rest = [_noun(word, _TAKES) for word in taken if word not in _TAKES]
        told = rest != taken or call.name in _TAKES or any(word.lstrip("-") in _TAKES for word in call.args)
        return told and bool(rest) and all(word in made for word in rest)


def _noun(word: str, verbs: frozenset[str]) -> str:
    """``delete-buckets`` is about a ``bucket``."""
    verb, _, noun = word.partition("-")
    return noun.removesuffix("s") if noun and verb in verbs else word


def _named(call: Call) -> Iterator[str]:
    """Operands that are no values of options, and the values of those that name something."""
    before = ""
    for word in call.args:
        if word.startswith("-") and len(word) > 1:
            if "=" in word and _NAMED.fullmatch(word.partition("=")[0]):
                yield word.partition("=")[2]
        elif (
            not before
            or _NAMED.fullmatch(before)
            or (before == "-n" and call.name in ("az", "multipass", "eksctl"))
            or (before == "-p" and call.name == "minikube")
        ):
            yield word
        before = word if word.startswith("-") and "=" not in word and not _bare(word) else ""


#: Options without a value that often stand before what is named.
_BARE = word_set("-f --force -y --yes -q --quiet -r -R -D -d --if-exists -v --volumes -i -t -it -rm -skipTrash --rm --detach --delete -mkdir -p -b -B -c -C")


def _bare(option: str) -> bool:
    return option in _BARE or (len(option) > 2 and option[1] != "-" and all(f"-{letter}" in _BARE for letter in option[1:]))


def _names_made(call: Call) -> Iterator[str]:
    if call.name == "git":
        match call.operands:
            case [("checkout" | "switch"), name, *_] if call.flags & {"-b", "-c", "--create"}:
                yield name
            case [("branch" | "tag"), name, *_] if not call.flags & {"-f", "--force", "-d", "-D", "-m", "-M"}:
                yield name
            case ["worktree", "add", *rest]:
                yield from ("worktree", *rest)
        return
    if call.name in ("createdb", "createuser"):
        yield from _named(call)
    elif call.name in ("useradd", "adduser", "groupadd", "addgroup"):
        yield from call.operands[-1:]
    elif call.name == "zfs" and call.operands[:1] == ["snapshot"]:
        yield from call.operands[1:]
    elif call.name == "lvcreate":
        volume = call.value("-n", "--name")
        yield from (f"{folder}{group.partition('/')[0]}/{volume}" for folder in ("", "/dev/") for group in call.operands if volume)
    elif not _MAKES.isdisjoint(part for word in call.operands[:4] for part in word.split("-")) or "-mkdir" in call.args:
        if call.name in ("docker", "podman", "nerdctl") and call.operands[:1] in (["run"], ["create"]):
            yield from filter(None, [call.value("--name")])
            return
        yield from (_noun(word, _MAKES) for word in _named(call) if word not in _MAKES)


def _paths_made(call: Call) -> Iterator[str]:
    operands = call.operands
    match call.name:
        case "mkdir":
            # It says nothing where the folder is there already.
            kept = "-p" in call.flags or "--parents" in call.flags
            yield from (path for path in operands if not kept or not path.startswith(("/", "~", "$")) or paths.unique(path))
        case "touch" | "truncate" | "fallocate":
            yield from operands
        case "dd":
            yield from (word[3:] for word in call.args if word.startswith("of="))
        case "git" if operands[:1] == ["clone"] and len(operands) > 1:
            place = next((place for place, word in enumerate(operands) if place and (":" in word or "/" in word)), 1)
            yield (operands[place + 1 :] or [re.split(r"[/:]", operands[place].rstrip("/"))[-1].removesuffix(".git")])[0]
        case "git" if operands[:2] == ["worktree", "add"]:
            yield from operands[2:3]
        case "virtualenv":
            yield from operands[-1:]
        case "python" | "python3" if operands[:1] == ["venv"]:
            yield from operands[1:]
        case "uv" if operands[:1] == ["venv"]:
            yield from operands[1:]
        case "cp" if call.flags & {"-r", "-R", "-a", "--recursive", "--archive"}:
            yield from (path for path in operands[-1:] if not path.startswith(("/", "~", "$")) or paths.unique(path))
        case "unzip":
            yield from (path for path in (call.value("-d"),) if path and not path.startswith(("/", "~", "$")))


_BUILT_INTO = word_set(
    """
    --out --outdir --out-dir --outDir --output --output-dir --output-path --outputPath --dest --destination --dist-dir --distDir --build-dir --target-dir
    --site-dir -o -B
    """
)


def _built(command: Command) -> Iterator[str]:
    """Where ``command`` puts what it builds, or what was built before."""
    words = command.words
    for word, after in itertools.pairwise(words):
        if word in _BUILT_INTO:
            yield after.rstrip("/").removeprefix("./")
        elif word.startswith("--") and word.partition("=")[0] in _BUILT_INTO:
            yield word.partition("=")[2].rstrip("/").removeprefix("./")
    if words[:1] in (["cp"], ["mv"], ["rsync"]) and len(words) > 2 and paths.rebuildable(words[-2]):
        yield words[-1].rstrip("/").removeprefix("./")


def _may_be_new(path: str) -> bool:
    matters = paths.whole(path) or paths.system_folder(path) or paths.critical(path) or paths.private(path) or paths.precious(path) or paths.log(path)
    return not matters and ".." not in path.split("/")[1:] and not path.startswith("/dev/") and not set("*?[") & set(path)
