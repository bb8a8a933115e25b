"""What a text made itself, so that it may take it away again: ``createdb x && ./test && dropdb x``.

Who wants something gone must not be able to say so first, so only what is sure counts: a program that fails where the thing is there
already, asked in a way that is understood to the last word, in a place where nothing goes on after it has failed (``&&``, or ``set -e``
and nothing around it), and nothing since that may have turned to another place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call
from firewall.engine.shell.databases import CLIENTS
from firewall.engine.shell.trials import pretends
from firewall.engine.shell.types import MADE, Category, Command, Finding, Pipeline, Script, word_set

#: A kind of thing, where it is, and what it is called.
_Name = tuple[str, frozenset[tuple[str, str]], str]


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to make or take a thing. Of ``naming`` options if there are any, else of the operands after ``path``, comes its name."""

    path: tuple[str, ...]
    kind: str
    naming: frozenset[str]
    #: Options with a value that say where; others with a value; those without.
    where: frozenset[str]
    valued: frozenset[str]
    bare: frozenset[str]

    def names(self, call: Call) -> list[_Name]:
        """The things that ``call`` names; none if it is another, or has an option that is not known."""
        waits, where, names = list(self.path), set(), []
        words = iter(call.args)
        for word in words:
            option, equals, value = word.partition("=")
            if not word.startswith("-"):
                if not waits and self.naming:
                    break  # what follows is no more its own
                if not waits:
                    names.append(word)
                elif waits.pop(0) != word:
                    return []
            elif option in self.naming:
                names.append(value if equals else next(words, ""))
            elif option in self.where:
                where.add((option, value if equals else next(words, "")))
            elif option in self.valued:
                _ = equals or next(words, "")
            elif word not in self.bare:
                return []
        return [] if waits else [(self.kind, frozenset(where), name) for name in names]


def _ways(text: str) -> dict[str, list[_Way]]:
    """By program, from lines of ``programs path | kind | naming | where | valued | bare``."""
    found: dict[str, list[_Way]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        named, kind, *options = (cell.strip() for cell in line.split("|"))
        programs, *path = named.split()
        for program in programs.split(","):
            # Podman knows nothing of Docker's containers.
            of_its_own = f"{kind} of {program}" if program in ("docker", "podman", "nerdctl") else kind
            found.setdefault(program, []).append(_Way(tuple(path), of_its_own, *map(word_set, options)))
    return found


_RUN_VALUED = (
    "-e --env -v --volume -p --publish --network --net -w --workdir -u --user --entrypoint -h --hostname --mount -m --memory --cpus --env-file -l --label"
    " --platform --pull --restart --tmpfs --add-host --cap-add --shm-size --health-cmd --health-interval --health-timeout --health-retries"
)
_RUN_BARE = "-d -i -t -it -ti -dit -dt -di -id -td --rm --detach --interactive --tty --init --privileged --read-only -q --quiet"
_MAKES = _ways(f"""
    createdb | database | | -h -p -U | -O -T -E -l -D | -e -w
    createuser | role | | -h -p -U | | -e -w -s -d -r -l
    mysqladmin create | schema | | -h -P -u -S | |
    useradd | user | | -R | -s -u -g -G -d -c -e -k | -m -M -r -N -U
    adduser | user | | | --home --shell --uid --gecos --ingroup | --system --disabled-password --disabled-login
    groupadd,addgroup | group | | -R | -g | -r --system
    docker,podman,nerdctl run | container | --name | -H --host -c --context | {_RUN_VALUED} | {_RUN_BARE}
    docker,podman,nerdctl create | container | --name | -H --host -c --context | {_RUN_VALUED} | {_RUN_BARE}
    docker,podman,nerdctl network create | network | | -H --host -c --context | -d --driver --subnet --gateway --label | --internal --attachable
    kubectl,oc create ns | namespace | | --context --kubeconfig | |
    kubectl,oc create namespace | namespace | | --context --kubeconfig | |
    kind create cluster | cluster of kind | --name -n | | --config --image --wait --kubeconfig --retain |
    k3d cluster create | cluster of k3d | | | --agents --servers --image -p --port --config | --wait --no-lb
    git branch | branch | | -C | |
    git checkout | branch | -b | -C | | -q
    git switch | branch | -c --create | -C | | -q
    git tag | tag | | -C | -m | -a -s
    git worktree add | worktree | | -C | -b | --detach -q
    zfs snapshot | snapshot | | | |
""")
_TAKES = _ways("""
    dropdb | database | | -h -p -U | | -e -w -i -f --if-exists --force
    dropuser | role | | -h -p -U | | -e -w -i --if-exists
    mysqladmin drop | schema | | -h -P -u -S | | -f --force
    userdel | user | | -R | | -r -f --remove --force
    deluser | user | | | | --remove-home --remove-all-files
    groupdel,delgroup | group | | -R | | -f
    docker,podman,nerdctl rm | container | | -H --host -c --context | | -f -v -fv -vf --force --volumes
    docker,podman,nerdctl container rm | container | | -H --host -c --context | | -f -v -fv -vf --force --volumes
    docker,podman,nerdctl stop | container | | -H --host -c --context | -t --time --timeout |
    docker,podman,nerdctl kill | container | | -H --host -c --context | -s --signal |
    docker,podman,nerdctl network rm | network | | -H --host -c --context | | -f --force
    kubectl,oc delete ns | namespace | | --context --kubeconfig | --timeout --wait --grace-period | --now --force
    kubectl,oc delete namespace | namespace | | --context --kubeconfig | --timeout --wait --grace-period | --now --force
    kind delete cluster | cluster of kind | --name -n | | --kubeconfig |
    k3d cluster delete | cluster of k3d | | | |
    git branch | branch | | -C | | -D -d --delete -f --force -q
    git tag | tag | | -C | | -d --delete
    git worktree remove | worktree | | -C | | -f --force
    zfs destroy | snapshot | | | | -r -R
""")
#: Variables that say where, whoever asks: with one of them in the text nothing is sure.
_SAY_WHERE = ("PG", "MYSQL", "KUBE", "DOCKER", "CONTAINER", "GIT_", "KIND_", "K3D")
#: Words and programs that turn to another place.
_TURNS = word_set("config context contexts use-context login project projects remote")
_TURNERS = word_set("kubectx kubens kubie kubeswitch")
#: Of these a thing counts as made if they were asked for its name in the making of it (``id=$(...)``).
_TELLS = word_set("docker podman nerdctl aws awslocal az gcloud gsutil bq doctl hcloud virsh incus lxc multipass nomad losetup kubectl oc")
_AWAY = word_set("delete rm remove rmi del destroy drop kill stop terminate rb undefine deregister detach release")
#: Wrappers that run what they are given, once, and fail with it; and their options to run it in the background or not at all.
_HONEST = word_set("sudo doas time nice ionice nohup stdbuf")
_BEHIND = word_set("-b --background -l --list -v --validate -e --edit -K -k -h --host -R --chroot -D --chdir")
_NOTED = _MAKES.keys() | _TURNERS | {"mkdir", "set", "cd", "pushd", "popd"}
_FILE_TAKERS = frozenset({"rm", "rmdir", "unlink", "shred", "remove-item", "rimraf", "trash", "ri", "rd", "del"})


@dataclass(slots=True)
class _Things:
    """What was made: things by name, files by path; and the folder one stands in if it may be lost as a whole."""

    names: set[_Name] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    place: str = ""

    def __bool__(self) -> bool:
        return bool(self.names or self.paths or self.place)

    def __or__(self, other: _Things) -> _Things:
        if not (self and other):
            return self or other
        return _Things(self.names | other.names, self.paths | other.paths, other.place or self.place)

    def elsewhere(self, place: str) -> _Things:
        """What of it can be named the same from another folder."""
        names = {name for name in self.names if name[0] not in ("branch", "tag", "worktree")}
        return _Things(names, {path for path in self.paths if path.startswith(("/", "~", "$"))}, place)


@dataclass(slots=True)
class _Level:
    """Where one is in a script: what stands for sure, and what does if all of the list so far has succeeded (``a && b && c``)."""

    script: Script = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    sure: _Things = field(default_factory=_Things)
    so_far: _Things = field(default_factory=_Things)
    #: Whether the command at hand ends its pipeline and stands under no keyword: nobody else has a say in what comes of it.
    decides: bool = False
    #: Whether it is the first of its list, and whether that has a ``||``, after which anything may have failed.
    is_first: bool = True
    is_excused: bool = False
    #: ``set -e`` was said.
    stops: bool = False


@dataclass(slots=True)
class Made:
    """What was made, of a text that is being judged: told of each script, each command and the end of each pipeline."""

    levels: list[_Level] = field(default_factory=lambda: [_Level()])
    again: tuple[Script, set[str]] | None = None

    @property
    def here(self) -> _Level:
        return self.levels[-1]

    @property
    def place(self) -> str:
        return self.here.so_far.place or self.here.sure.place

    def enter_script(self, script: Script, functions: set[str]) -> None:
        """What was made so far stands in all that is inside. ``functions`` are those that it has defined: a program of that name is not run."""
        self.levels.append(_Level(script, functions, self.here.sure | self.here.so_far))

    def leave_script(self, *, is_group: bool) -> None:
        """``is_group``: it has succeeded if its last list has, of which ``end`` was not told."""
        left = self.levels.pop()
        if is_group and self.here.decides and not (self.here.is_excused or left.is_excused):
            # Who leaves a subshell stands where one stood before.
            self.here.so_far = replace(self.here.so_far | left.so_far, place=self.here.so_far.place)

    def begin(self, command: Command, pipeline: Pipeline) -> None:
        self.here.decides = command is pipeline[-1] and not command.led

    def wrap(self, call: Call) -> None:
        """What ``call`` runs is up to it; only a few have the status of that as their own, whatever happens."""
        self.here.decides = self.here.decides and call.name in _HONEST and call.flags.isdisjoint(_BEHIND)

    @contextmanager
    def unsure(self) -> Iterator[None]:
        """Inside, nothing counts as made."""
        here = self.here
        decides, here.decides = here.decides, False
        yield
        here.decides = decides

    def end(self, last: Command) -> None:
        """A pipeline has ended with ``last``."""
        here = self.here
        if last.joined:
            here.is_first = False
        elif last.excused:
            here.is_first, here.is_excused, here.so_far = False, True, _Things()
        else:
            if here.stops and here.is_first and here.decides and not last.background:
                here.sure = here.sure | here.so_far
            here.is_first, here.is_excused, here.so_far = True, False, _Things()

    def made_again(self) -> set[str]:
        """What a build of the script being judged writes, wherever in it: it takes its own work away first."""
        script = self.here.script
        if self.again is None or self.again[0] is not script:
            written = {path for pipeline in script for command in pipeline for path in _built(command)}
            self.again = script, {path for path in written if path.rpartition("/")[2] in _OUTPUTS and not path.startswith(("/", "~", "$", ".."))}
        return self.again[1]

    def enter(self, folder: str) -> None:
        """``cd``: where one stands matters if it is a folder that may be lost as a whole."""
        here, bare = self.here, folder.rstrip("/")
        is_own = paths.temporary(folder) or bare in here.sure.paths | here.so_far.paths
        is_inside = self.place and not folder.startswith(("/", "~", "$", "-", ".."))
        is_sure = here.decides and not here.is_excused and (is_own or is_inside)
        here.sure, here.so_far = here.sure.elsewhere(""), here.so_far.elsewhere(bare if is_sure else "")

    def note(self, call: Call) -> None:
        here = self.here
        if call.name not in _NOTED:
            return
        if call.name == "set":
            here.stops = _stops(call, before=here.stops) and here.decides and here.is_first and len(self.levels) == 2
        elif call.name in ("cd", "pushd", "popd"):
            self.enter("".join(call.operands[:1]))
        elif call.name in _TURNERS or not _TURNS.isdisjoint(call.operands[:2]):
            here.sure, here.so_far = _Things(), _Things()
        elif here.decides and not here.is_excused and call.name not in here.functions and not pretends(call):
            here.so_far.names |= {found[0] for way in _MAKES.get(call.name, ()) if (found := way.names(call))} if not _told_where(call) else set()
            here.so_far.paths |= {path.rstrip("/").removeprefix("./") for path in _paths_made(call) if _may_be_new(path)}

    def owns(self, call: Call, found: Finding) -> bool:
        """Whether all that ``call`` takes away, which is why it was ``found``, was made before."""
        known = self.here.sure | self.here.so_far
        if call.name in _FILE_TAKERS:
            targets = [word for word in call.operands if not word.startswith("/") or len(word) > 2]
            again = self.made_again()
            bare = [target.rstrip("/").removeprefix("./") for target in targets if not paths.harmless(target)]
            return bool(bare) and all(target in known.paths or target in again for target in bare)
        if call.name == "git" and self._is_own_repository(call, known):
            return True
        if call.name in CLIENTS and found.category is not Category.DATABASE:
            return False
        if call.name in _TELLS:
            verb = next((place for place, word in enumerate(call.operands) if word.partition("-")[0] in _AWAY), -1)
            named = call.operands[verb + 1 :] if verb >= 0 else []
            if named and set(named) == {MADE}:
                return True
        taken = next(filter(None, (way.names(call) for way in _TAKES.get(call.name, ()))), [])
        return bool(taken) and all(each in known.names or paths.unique(each[2]) for each in taken) and not _told_where(call)

    def _is_own_repository(self, call: Call, known: _Things) -> bool:
        """Whether what ``git`` does stays in a repository among the temporary files, or one that was cloned here."""
        if not {"push", "send-pack", "config"}.isdisjoint(call.operands[:3]) or _told_where(call) or "--git-dir" in call.flags or "--work-tree" in call.flags:
            return False
        folders = [after for word, after in itertools.pairwise(call.args) if word == "-C"]
        if len(folders) != 1:
            return not folders and self.place != ""
        return paths.temporary(folders[0]) or folders[0].rstrip("/") in known.paths


def _told_where(call: Call) -> bool:
    return any(name.startswith(_SAY_WHERE) for name in call.variables)


def _stops(call: Call, *, before: bool) -> bool:
    """Whether a command that fails ends the script after this ``set``."""
    stops = before
    for place, word in enumerate(call.args):
        if word == "--":
            break
        named = "".join(call.args[place + 1 : place + 2]) if "o" in word[1:] else ""
        if word[:1] in ("-", "+") and ("e" in word[1:] or named == "errexit"):
            stops = word[0] == "-"
    return stops


def _paths_made(call: Call) -> Iterator[str]:
    operands = call.operands
    match call.name:
        case "mkdir":
            # It says nothing where the folder is there already.
            kept = "-p" in call.flags or "--parents" in call.flags
            yield from (path for path in operands if not kept or paths.unique(path))
        case "git" if operands[:1] == ["clone"] and len(operands) > 1:
            place = next((place for place, word in enumerate(operands) if place and (":" in word or "/" in word)), 1)
            yield (operands[place + 1 :] or [re.split(r"[/:]", operands[place].rstrip("/"))[-1].removesuffix(".git")])[0]
        case "git" if operands[:2] == ["worktree", "add"]:
            yield from operands[2:3]


_BUILT_INTO = word_set(
    """
    --out --outdir --out-dir --outDir --output --output-dir --output-path --outputPath --dest --destination --dist-dir --distDir --build-dir --target-dir
    --site-dir -o -B
    """
)


#: The folders that builds write, beside those that are known by their names alone.
_OUTPUTS = word_set("lib libs out output es esm cjs umd types generated gen public static assets site www html htdocs webroot wwwroot bundle release bin obj")
_BUILDERS = word_set(
    """
    tsc babel webpack vite rollup esbuild swc parcel tsup ncc next nuxt astro gatsby hugo jekyll eleventy zola mkdocs sphinx-build typedoc storybook
    javac gradle gradlew mvn cmake meson ninja make go cargo dotnet gcc g++ clang clang++ protoc buf pyinstaller browserify sass postcss tailwindcss
    """
)


def _built(command: Command) -> Iterator[str]:
    """Where ``command`` puts what it builds, or what was built before."""
    words = command.words
    builds = not _BUILDERS.isdisjoint(word.rpartition("/")[2] for word in words[:4])
    for word, after in itertools.pairwise(words if builds else ()):
        if word in _BUILT_INTO:
            yield after.rstrip("/").removeprefix("./")
        elif word.startswith("--") and word.partition("=")[0] in _BUILT_INTO:
            yield word.partition("=")[2].rstrip("/").removeprefix("./")
    if words[:1] in (["cp"], ["mv"], ["rsync"]) and len(words) > 2 and paths.rebuildable(words[-2]):
        yield words[-1].rstrip("/").removeprefix("./")


def _may_be_new(path: str) -> bool:
    matters = paths.whole(path) or paths.system_folder(path) or paths.critical(path) or paths.private(path) or paths.precious(path) or paths.log(path)
    return not matters and ".." not in path.split("/")[1:] and not path.startswith("/dev/") and not set("*?[") & set(path)
