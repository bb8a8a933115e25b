"""Tables of the programs that run another, and of what stands between their name and it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from firewall.engine.shell.types import word_set

SHELLS = word_set(
    """
    sh bash zsh dash ksh mksh fish ash csh tcsh rbash pwsh powershell cmd nu xonsh elvish
    """
)
POWERSHELLS = frozenset({"pwsh", "powershell"})


@dataclass(frozen=True, slots=True)
class Wrapper:
    """``valued`` are its options that take the next word; ``skipped`` its own operands before the command begins."""

    valued: frozenset[str] = frozenset()
    skipped: int = 0


def _wrappers(text: str) -> dict[str, Wrapper]:
    """Lines of ``program,program operands option option ..``."""
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        programs, skipped, *valued = line.split()
        found.update(dict.fromkeys(programs.split(","), Wrapper(frozenset(valued), int(skipped))))
    return found


WRAPPERS = _wrappers(
    """
    sudo,doas,pkexec 0 -u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir --chroot --role --type --other-user
    run0,systemd-run 0 -u -p -M -E --unit --property --uid --gid --description --setenv --slice --on-calendar --on-active
    env 0 -u -C --unset --chdir --block-signal
    nohup,setsid,unbuffer,rlwrap,fakeroot,catchsegv,command,builtin,noglob,nocorrect,tini,dumb-init,torsocks,torify,trickle,eatmydata 0
    winpty,busybox,toybox,linux32,linux64,setarch,arch 0 -R
    proxychains,proxychains4,firejail,bwrap,tsocks 0 -f
    exec 0 -a
    time,gtime 0 -f -o --format --output
    nice,ionice 0 -n -c -p --adjustment --class --classdata --pid
    timeout,gtimeout 1 -k -s --kill-after --signal
    stdbuf 0 -i -o -e --input --output --error
    strace,ltrace,dtruss,perf 0 -e -o -p -s -u -a -O -S -P
    chroot,fakechroot 1 --userspec --groups
    unshare,nsenter 0 -t -S -G --target --setuid --setgid -R
    chrt,taskset,numactl,cpulimit,schedtool 1 -p -l --limit
    xcrun,rosetta 0 --sdk -sdk --toolchain
    gosu,su-exec,setpriv,chpst,s6-setuidgid,setuidgid 1
    caffeinate 0 -t -w
    when-changed,retry,chronic,ifne,sem,errno,ts,cgexec,dbus-run-session,xvfb-run,prlimit,softlimit,nq,nocache 0 -g -s -n -j -t
    start-stop-daemon 0 --pidfile -p --exec -x --name -n --user -u --chuid -c --signal -s
    """
)
#: These run what follows one of their words: ``kubectl exec pod -- rm``, ``docker run image rm``. The number counts operands to skip after it.
AFTER = {
    ("docker", "exec"): 1,
    ("docker", "run"): 1,
    ("podman", "exec"): 1,
    ("podman", "run"): 1,
    ("nerdctl", "exec"): 1,
    ("nerdctl", "run"): 1,
    ("docker-compose", "exec"): 1,
    ("docker-compose", "run"): 1,
    ("kubectl", "exec"): 1,
    ("kubectl", "run"): 1,
    ("kubectl", "debug"): 1,
    ("oc", "exec"): 1,
    ("oc", "rsh"): 1,
    ("lxc", "exec"): 1,
    ("incus", "exec"): 1,
    ("crictl", "exec"): 1,
    ("multipass", "exec"): 1,
    ("machinectl", "shell"): 1,
    ("flatpak", "run"): 1,
    ("heroku", "run"): 0,
    ("railway", "run"): 0,
    ("poetry", "run"): 0,
    ("pipenv", "run"): 0,
    ("uv", "run"): 0,
    ("rye", "run"): 0,
    ("hatch", "run"): 0,
    ("pdm", "run"): 0,
    ("bundle", "exec"): 0,
    ("npm", "exec"): 0,
    ("pnpm", "exec"): 0,
    ("pnpm", "dlx"): 0,
    ("yarn", "exec"): 0,
    ("yarn", "dlx"): 0,
    ("conda", "run"): 0,
    ("mamba", "run"): 0,
    ("asdf", "exec"): 0,
    ("mise", "exec"): 0,
    ("doppler", "run"): 0,
    ("op", "run"): 0,
    ("infisical", "run"): 0,
    ("chamber", "exec"): 1,
    ("aws-vault", "exec"): 1,
    ("direnv", "exec"): 1,
    ("adb", "shell"): 0,
    ("ip", "netns"): 2,
}
AFTER_NAMES = frozenset(name for name, _ in AFTER)
VALUED_AFTER = word_set(
    """
    -n --namespace -c --container -u --user -w --workdir -e --env --env-file -v --volume --name --network --net -p --publish --mount --entrypoint -h
    --hostname -l --label --context --project --config --app -a -r --remote --profile --rm-after --memory -m --cpus --gpus --platform --pid --add-host
    --cap-add --restart --prefix -N
    """
)
SSH_VALUED = word_set(
    """
    -b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w
    """
)
XARGS_VALUED = word_set(
    """
    -I -n -P -L -s -d -E -a --max-args --max-procs --delimiter --arg-file --replace --max-lines -j --jobs --joblog -S --sshlogin --colsep --timeout
    --delay -N
    """
)
ARCHITECTURE = re.compile(r"x86_64|i[3-6]86|aarch64|arm64e?|armv\w+|ppc\w*|s390x?|riscv64|linux(?:32|64)|uname26")
#: Variables whose value a program runs.
RUN_VARIABLES = frozenset(
    {
        "PROMPT_COMMAND",
        "GIT_SSH_COMMAND",
        "GIT_EDITOR",
        "GIT_PAGER",
        "GIT_SEQUENCE_EDITOR",
        "GIT_EXTERNAL_DIFF",
        "GIT_ASKPASS",
        "PAGER",
        "MANPAGER",
        "EDITOR",
        "VISUAL",
    }
    | {"LESSOPEN", "LESSCLOSE", "BROWSER", "FCEDIT", "SUDO_EDITOR", "RSYNC_RSH", "PS4"}
)
#: Variables that name code which every program, or every shell, loads first.
LOADED_VARIABLES = frozenset({"LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "PYTHONSTARTUP", "PERL5DB"})
BLOCK_TAKERS = word_set("% foreach-object foreach invoke-command icm start-job where-object ? measure-command")
SETTING = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_TAR_OPTIONS = ("-I", "-F", "--checkpoint-action", "--to-command", "--use-compress-program", "--info-script", "--new-volume-script", "--rsh-command")
#: Options of programs whose value is a command for a shell.
COMMAND_OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("tar", "gtar", "bsdtar"), _TAR_OPTIONS),
    "rsync": ("-e", "--rsh", "--rsync-path"),
    "sftp": ("-S", "-D"),
    "scp": ("-S",),
    "man": ("-P", "--pager", "-H", "--html"),
    "less": (),
    "zip": ("-TT", "--unzip-command"),
    "split": ("--filter",),
    "sort": ("--compress-program",),
    "gdb": ("-ex", "--eval-command", "-iex"),
    "lldb": ("-o", "--one-line"),
    "git": ("--exec", "--upload-pack", "--receive-pack", "-O", "--open-files-in-pager"),
    "ag": ("--pager",),
    "rg": ("--pre",),
}
