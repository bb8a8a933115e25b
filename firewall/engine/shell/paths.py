"""Which paths may be lost without harm, and which never."""

from __future__ import annotations

import posixpath
import re

import re2

from firewall.engine.shell.types import word_set

TEMPORARY = word_set(
    """
    /tmp /var/tmp /private/tmp /dev/shm $TMPDIR $TMP $TEMP $RUNNER_TEMP $env:TEMP $env:TMP %TEMP% %TMP% C:/Temp C:/Windows/Temp
    """
)

#: What a build or a package manager makes again.
REBUILDABLE = word_set(
    """
    node_modules bower_components .next .nuxt .svelte-kit .turbo .parcel-cache .angular .cache .eslintcache __pycache__ .pytest_cache .mypy_cache
    .ruff_cache .tox .nox .hypothesis .eggs .ipynb_checkpoints htmlcov .coverage coverage build dist target out _build bazel-out cmake-build-debug
    cmake-build-release bin obj .nyc_output .vite .output .docusaurus .expo .gradle DerivedData Pods .dart_tool .venv venv tmp temp .tmp .sass-cache
    .terraform site-packages test-results playwright-report package-lock.json yarn.lock pnpm-lock.yaml bun.lockb
    """
)
_REBUILDABLE_FILE = re.compile(
    r"(?:.*[*.])?(?:pyc|pyo|o|a|so|lo|la|obj|class|gcda|gcno|aux|toc|tmp|temp|swp|swo|egg-info|tsbuildinfo|DS_Store|orig|rej|bak~?)|.*~|#.*#|core"
)

#: Folders named for what a build or a run of tests leaves in them.
_LEAVINGS = re.compile(
    r"(?:test|tests|playwright|allure|storybook|jest|vitest|cypress|cucumber|junit|lighthouse|coverage|e2e|karma|mocha|pytest|rspec|bench\w*|k6|locust|html|blob|lint)"
    r"-(?:static|reports?|results?|artifacts?|coverage|output|screenshots?|traces?)|[\w.]+-(?:cache|dist)|cmake-build-\w+|bazel-\w+|cdk\.out|\.aws-sam|\.serverless|\.webpack|\.build|_site|\.jekyll-cache|elm-stuff|\.?zig-(?:cache|out)|\.stack-work|dist-newstyle|\.terragrunt-cache|\.lighthouseci"
    r"|\.wrangler|(?:public|static)/(?:packs(?:-test)?|assets|build|dist)|\.bundle|\.kotlin|\.cxx|\.nx|\.rush|\.scannerwork|\.pytype|\.pyre|\.swiftpm|xcuserdata|\.phpunit\.\w*\.?cache|\.esbuild|\.rollup\.cache|\.astro|\.contentlayer"
)
_SYSTEM_ROOTS = word_set(
    """
    bin boot dev etc lib lib32 lib64 opt proc root sbin srv sys usr var home run snap mnt media System Library Applications Users Volumes Windows nix
    """
)
_WINDOWS = re.compile(
    r"(?i)(?:[a-z]:)?[\\/]?(?:windows|program files)\b|[a-z]:[\\/](?:users|programdata)[\\/]?[^\\/]*$|%(?:systemroot|windir)%|\$env:(?:systemroot|windir)"
)
#: Writing over one of these locks people out, opens the machine or stops it from starting.
_CRITICAL = re.compile(
    r"/etc/(?:passwd|shadow|gshadow|group|sudoers(?:\.d(?:/.*)?)?|fstab|crypttab|hosts|resolv\.conf|ssh/.*|pam\.d/.*|ld\.so\.preload|crontab|cron.*/.*|inittab|profile|environment)"
    r"|/(?:boot|bin|sbin|lib|lib64|proc(?!/sys/(?:net|vm|fs)/)|sys(?!/class/))/.*|/usr/(?:bin|sbin|lib|lib64)/.*"
    r"|.*/\.ssh/(?:authorized_keys2?|id_\w+|config)"
)
_DISK = re.compile(
    r"/dev/(?:[shv]d[a-z]|xvd[a-z]|nvme|mmcblk|r?disk\d|md\d|dm-|mapper/|loop\d|sr\d|mem|kmem|port|by-|disk/)|\\\\\.\\physicaldrive", re.IGNORECASE
)
_LOG = re.compile(
    r"/var/log(?:/.*)?|.*/?\.(?:bash|zsh|sh|python|mysql|psql)_history|.*/fish_history|/var/(?:run|log)/[uw]tmp|.*ConsoleHost_history\.txt|.*\.HistorySavePath|[A-Za-z]:/.*\.(?:log|evtx)"
)
_DATA_FILE = re.compile(r".*\.(?:db|sqlite3?|mdb|sql(?:\.gz)?|dump|bak|pem|key|kdbx|tfstate(?:\.backup)?|ibd|qcow2|vmdk|vdi)")
#: What a project is made of, by hand: nothing makes it again.
_WRITTEN_BY_HAND = re2.compile(
    r"(?:.*/)?(?:package\.json|go\.mod|(?:pyproject|Cargo)\.toml|pom\.xml|build\.gradle(?:\.kts)?|Gemfile|composer\.json|Makefile|Dockerfile|\.env(?:\.\w+)?|\.gitignore)"
    r"|(?:.*/)?(?:docker-)?compose\.ya?ml|(?:.*/)?(?:config|conf|settings|\.github|k8s|deploy)/(?:.*/)?[\w.-]+\.(?:ya?ml|json|toml|ini|conf|cfg)"
    r"|(?:.*/)?[\w.*-]+\.(?:py|jsx?|tsx?|go|rs|java|rb|php|c|cc|cpp|h|hpp|cs|kt|swift|scala|vue|svelte|ex|hs|tf|sol)"
)
_PRIVATE = re.compile(
    r"(?:.*/)?\.ssh/(?:id_\w+|\*|identity)|(?:.*/)?id_(?:rsa|ed25519|ecdsa|dsa)|(?:.*/)?\.aws/(?:credentials|\*)|(?:.*/)?\.(?:netrc|pgpass|my\.cnf|git-credentials|vault-token|htpasswd)"
    r"|(?:.*/)?\.docker/config\.json|(?:.*/)?\.kube/config|/etc/kubernetes/admin\.conf"
    r"|(?:.*/)?\.gnupg/(?:private.*|secring\.gpg|\*)|/etc/(?:g?shadow-?|sudoers|master\.passwd|krb5\.keytab)"
    r"|(?:.*/)?(?:application_default_credentials|access_tokens|accessTokens|azureProfile)\.(?:json|db)"
    r"|(?:.*/)?\.config/(?:gcloud|gh|rclone|op)/?|(?:.*/)?\.(?:docker|terraform\.d|password-store)/?|(?:.*/)?gcloud/credentials\.db|(?:.*/)?gh/hosts\.yml|(?:~|\$HOME)/\.(?:npmrc|yarnrc\.yml|pypirc|s3cfg|boto|terraformrc|m2/settings\.xml|fly/config\.yml)"
    r"|(?:.*/)?\.(?:cargo/credentials(?:\.toml)?|terraform\.d/credentials\.tfrc\.json|config/rclone/rclone\.conf|claude/\.credentials\.json|codex/auth\.json)"
    r"|/proc/(?:self|\d+|\*)/environ"
    r"|/run/secrets/.*|(?:.*/)?Library/Keychains/.+|.*\.keychain(?:-db)?"
    r"|(?:.*/)?\.(?:ssh|aws|gnupg|kube|azure)/?|/var/run/secrets/.*|(?:.*/)?(?:Login Data|logins\.json|key4\.db|wallet\.dat)|.*/etc/ssh/ssh_host_\w+_key"
)
_ENVIRONMENT = re.compile(r"(?:.*/)?\.env(?:\.(?!example|sample|template|dist)\w+)?|(?:.*/)?(?:secrets?|credentials)\.(?:ya?ml|json|toml|env)|.*\.pem")


_DROP_IN = re.compile(
    r"/etc/(?:(?:sysctl|modules-load|motd|update-motd-static|issue|bash_completion|apt/(?:sources\.list|apt\.conf|preferences)|yum\.repos|logrotate|nginx/conf|supervisor/conf|tmpfiles|rsyslog|fail2ban/jail)\.d"
    r"|apt/keyrings|nginx/sites-(?:available|enabled))/[^/]+|/etc/systemd/system/[^/]+\.(?:service|timer|socket)|/etc/docker/daemon\.json"
)
#: In a home or on the machine: what is made again when it is next wanted.
_CACHE = re.compile(
    r"(?:~|\$HOME|\$XDG_CACHE_HOME)/(?:\.cache|Library/Caches|Library/Developer/Xcode/DerivedData|\.npm/_\w+|\.gradle/caches|\.m2/repository|\.cargo/registry|\.local/share/Trash|\.bun/install/cache)/.+"
    r"|(?:~|\$HOME)/Library/Developer/Xcode/DerivedData/?|(?:~|\$HOME)/\.npm/_cacache/?"
    r"|/var/(?:lib/apt/lists|cache/(?:apt|apk|yum|dnf|pacman|debconf|ldconfig)(?:/archives|/pkg)?)/[^/]+/?|/root/\.cache/.+"
)


#: Signs that a program runs, which it leaves behind when it ends badly.
_LEFT_OVER = re.compile(r"(?:[\w.-]*|.*/[\w.-]+)\.(?:pid|lock|sock)|(?:/var|/run)/lock/[\w.-]+")


def clean(path: str) -> str:
    """``path`` without doubled slashes, ``.`` and ``..``; a home folder is ``~``."""
    if "//" not in path and "/." not in path and not path.startswith(("/root", "/home/", "/Users/")):
        return path
    tail = "/" if path.endswith("/") else ""
    path = posixpath.normpath(path)
    if path.startswith("//"):
        path = path[1:]
    return re.sub(r"^(?:/root|/(?:home|Users)/[^/]+)(?=/)", "~", path) + (tail if path != "/" else "")


def temporary(path: str) -> bool:
    """Below a folder for temporary files, and not that folder itself."""
    path = clean(path)
    return any(path.startswith(root + "/") and path.rstrip("/") != root for root in TEMPORARY) and ".." not in path


def rebuildable(path: str) -> bool:
    """A relative path whose last part, or the part before ``/*``, is made again by the next build."""
    path = clean(path.removeprefix("./")).rstrip("/")
    if not path or path[0] in "/~$" or path.startswith(".."):
        return False
    parts = [part for part in path.split("/") if part not in ("*", "**", ".*")]
    return bool(parts) and (
        not REBUILDABLE.isdisjoint(parts)
        or bool(_REBUILDABLE_FILE.fullmatch(parts[-1]) or _LEAVINGS.fullmatch(parts[-1]) or _LEAVINGS.fullmatch("/".join(parts[-2:])))
    )


def harmless(path: str) -> bool:
    return temporary(path) or rebuildable(path) or bool(_LEFT_OVER.fullmatch(path)) or (".." not in path and bool(_CACHE.fullmatch(clean(path))))


def whole(path: str) -> bool:
    """A root, a home or the folder one stands in: ``/``, ``~``, ``.``, ``*``, ``/*``, ``..``, a drive."""
    bare = clean(path).rstrip("/")
    bare = bare.removesuffix("/*").removesuffix("/.*")
    return (
        bare in ("", "*", ".*", "~", ".", "..", "./*", "../*", "$PWD", "/*")
        or bool(re.fullmatch(r"[A-Za-z]:[\\/]*(?:\*(?:\.\*)?)?|[*.]+|\$env:(?:USERPROFILE|HOME)|%USERPROFILE%", bare))
        or bare == "/."
    )


def system(path: str) -> bool:
    """A folder of the system or a part of one; what lies in a home does not count."""
    path = clean(path)
    if not path.startswith("/") or temporary(path):
        return bool(_WINDOWS.match(path))
    first = path.lstrip("/").partition("/")[0]
    return not first or first in _SYSTEM_ROOTS or "*" in first or "?" in first


def system_folder(path: str) -> bool:
    """One that the machine stands on as a whole: ``/etc``, ``/usr/lib``, ``/var/lib/docker``."""
    path = clean(path).rstrip("/")
    return (
        path.startswith("/")
        and system(path)
        and (path.count("/") == 1 or bool(re.fullmatch(r"/usr/(?:s?bin|lib\w*|share|libexec)|/var/(?:lib|log|spool)|/var/lib/[\w-]+", path)))
    )


def critical(path: str) -> bool:
    return bool(_CRITICAL.fullmatch(clean(path)))


def disk(path: str) -> bool:
    return bool(_DISK.match(clean(path)))


def drop_in(path: str) -> bool:
    """A file beside others of its kind, as packages and deployments put there: it replaces nobody's settings."""
    return bool(_DROP_IN.fullmatch(clean(path)))


def endless(path: str) -> bool:
    return path in ("/dev/zero", "/dev/urandom", "/dev/random")


_SIZE = re.compile(r"(\d{1,18})([kmgtpe]?)(?:i?b)?", re.IGNORECASE)
_HUGE_BYTES = 100 << 30


def huge(*factors: str) -> bool:
    """Whether sizes as ``10G``, multiplied, are more than a disk has to spare."""
    product = 1
    for factor in factors:
        if not (found := _SIZE.fullmatch(factor)):
            return False
        product *= int(found[1]) << 10 * " kmgtpe".index(found[2].lower() or " ")
    return product >= _HUGE_BYTES


def log(path: str) -> bool:
    return bool(_LOG.fullmatch(clean(path)))


def precious(path: str) -> bool:
    """A file whose loss is seldom undone: a database, a dump, a key, the history of a repository, settings of a home."""
    path = clean(path)
    return bool(_DATA_FILE.fullmatch(path)) or path.rstrip("/").endswith("/.git") or path == ".git" or path.startswith((".git/", "~/."))


def by_hand(path: str) -> bool:
    """A source or the settings of a project, outside of what a build makes."""
    return bool(_WRITTEN_BY_HAND.fullmatch(path)) and not path.endswith("__init__.py") and not harmless(path)


def private(path: str) -> bool:
    """A file that holds credentials."""
    return bool(_PRIVATE.fullmatch(clean(path))) and not path.endswith(".pub")


def environment(path: str) -> bool:
    """A file that often holds credentials: reading it is daily work, sending it away is not."""
    return private(path) or bool(_ENVIRONMENT.fullmatch(clean(path)))
