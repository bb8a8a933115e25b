"""What is measured: PostgreSQL, Valkey and the web process in a folder of their own, nginx beside them, and their CPU time."""

import http.client
import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

import firewall.services
import keys.services
import workspaces.services
from keys import provider_services
from keys.provider_services import ModelSpec
from orcarouter import embedded
from orcarouter.bench.load import Job, Sample
from orcarouter.supervision import StartRefused
from orcarouter.supervision.child import Child, python
from workspaces import tenancy, valkey
from workspaces.models import User

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = ("instant", "wait", "burst", "paced")

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 20m; client_body_buffer_size 64k; keepalive_requests 1000000000; keepalive_timeout 60;
  client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp}; uwsgi_temp_path {temp}; scgi_temp_path {temp};
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1; proxy_set_header Connection "";
    location / {{ proxy_pass http://provider; }}
    location ~ ^/(burst|paced)/ {{ proxy_buffering off; proxy_pass http://provider; }}
  }}
}}
"""

#: Six tools under three of the twenty rules, as an agent of one team may have them: a cap, names, arguments, a sequence.
TOOLS = ("kb__read", "kb__search", "web__search", "web__fetch", "crm__lookup", "calendar__list")
DENIED = ("*.exec", "*.delete", "mail.send", "*.admin.*")
DESTRUCTIVE = {"clauses": [{"path": "$.command", "op": "shell_destructive", "value": True}]}
LEAK = {"window_seconds": 300, "steps": [{"match": "kb.*", "min_count": 20}, {"match": "*", "egress": True}], "enforce": "inline"}
RULES: list[dict] = [
    {"priority": 0, "verdict": "cap_cost", "cap_cost_cents": 10_000_000},
    *({"priority": 1 + number, "tool_name_glob": glob, "verdict": "deny"} for number, glob in enumerate(DENIED)),
    {"priority": 8, "tool_name_glob": "shell.*", "verdict": "deny", "args_match": DESTRUCTIVE},
    {"priority": 9, "verdict": "deny", "sequence": LEAK},
    {"priority": 10, "tool_name_glob": "kb.*", "verdict": "allow"},
    {"priority": 11, "tool_name_glob": "web.*", "verdict": "audit"},
    *({"priority": 20 + number, "tool_name_glob": f"team{number}.*", "verdict": "allow"} for number in range(10)),
    {"priority": 90, "tool_name_glob": "*", "verdict": "allow"},
]
#: More than any bench spends: it is counted, and never refuses.
LIMIT_MICRO_USD = 10**15
CROWD = 64
POLICY = {"name": "bench", "default_verdict": "deny", "max_runs_per_key_per_hour": 60}


@dataclass(frozen=True)
class Ports:
    web: int
    provider: int
    nginx: int


@dataclass(frozen=True)
class Cost:
    """A sample and the CPU microseconds that each server spent on one of its calls."""

    sample: Sample
    web_us: float
    nginx_us: float
    postgres_us: float
    valkey_us: float


class Site:
    """A ``with`` block in which everything runs. ``governed`` is a key with a policy of 20 rules and a limit, ``bare`` one without any.

    ``crowd`` are 64 keys like ``governed``, and ``asking`` as many that ask before calls under the same policy.
    """

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.folder, self.ports = folder, ports
        self.has_nginx = shutil.which("nginx") is not None
        self._lines: list[str] = []
        self._stack = ExitStack()
        self._children: dict[str, Child] = {}

    def __enter__(self) -> "Site":
        try:
            self._start()
        except BaseException as error:
            self._stack.close()
            if isinstance(error, StartRefused):
                sys.exit(f"{error}\n{self.said()}")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        connection.close()
        self._stack.close()

    def _start(self) -> None:
        servers = self._stack.enter_context(embedded.start(self.folder, on_line=self._hear))
        self._children |= {child.name: child for child in servers.children}
        call_command("migrate", database="owner", verbosity=0, interactive=False)
        self._run("provider", python("-m", "orcarouter.bench.provider", str(self.ports.provider)), self.ports.provider)
        if self.has_nginx:
            conf = self.folder / "nginx.conf"
            # A folder of its own: nginx that is started by root gives it to another user.
            temp = self.folder / "nginx"
            temp.mkdir()
            conf.write_text(NGINX.format(folder=self.folder, temp=temp, port=self.ports.nginx, provider=self.ports.provider))
            self._run("nginx", ["nginx", "-e", "stderr", "-p", str(self.folder), "-c", str(conf)], self.ports.nginx)
        self._make_workspace()
        self._run("web", python(str(ROOT / "manage.py"), "serve"), self.ports.web)

    def _run(self, name: str, argv: list[str], port: int) -> None:
        child = Child(name=name, argv=argv, cwd=ROOT, ready=lambda: _listens(port), on_line=self._hear)
        self._children[name] = child
        self._stack.callback(child.stop)
        child.start()
        child.wait_ready()

    def _hear(self, name: str, level: int, line: str) -> None:
        self._lines = [*self._lines[-40:], f"{name}: {line}"]

    def said(self) -> str:
        """The last lines of every process, for a person who looks for the reason of a failure."""
        return "\n".join(self._lines)

    def _make_workspace(self) -> None:
        at = timezone.now()
        owner = User.objects.create(email="bench@example.com", created_at=at)
        workspace = workspaces.services.create_workspace(name="Bench", owner=owner, at=at)
        with tenancy.scope(workspace.pk):
            for kind in KINDS:
                address = f"http://127.0.0.1:{self.ports.provider}/{kind}/v1"
                models = [ModelSpec(kind, input_per_million_micro_usd=150_000, output_per_million_micro_usd=600_000)]
                secret = f"sk-{kind}"
                provider_services.create_provider(workspace, name=kind, base_url=address, secret=secret, models=models, actor=owner, at=at)
            policy = firewall.services.create_policy(workspace, fields=POLICY, rules=RULES, actor=owner, at=at)
            fields: dict[str, object] = {"name": "governed", "firewall_policy": policy, "credit_limit_micro_usd": LIMIT_MICRO_USD}
            self.governed, *self.crowd = (keys.services.create_key(workspace, fields=fields, actor=owner, at=at)[1] for _ in range(1 + CROWD))
            asking = {"name": "asking", "firewall_policy": policy, "is_firewall_gateway": True}
            self.asking = [keys.services.create_key(workspace, fields=asking, actor=owner, at=at)[1] for _ in range(CROWD)]
            self.bare = keys.services.create_key(workspace, fields={"name": "bare"}, actor=owner, at=at)[1]

    # --- Asking -----------------------------------------------------------------------------------------------------------
    def ask(self, whom: str, kind: str, *, connections: int, seconds: float, **more: Any) -> Cost:
        """Load ``governed``, ``crowd`` or ``bare`` (keys of the gateway), ``nginx`` or the provider ``direct``ly with requests of this kind.

        ``asking`` sends questions of kind ``evaluate``. ``more`` is what else a `Job` may say: its ``calls``, ``rate`` or ``spread_seconds``.
        """
        of_ours = {"governed": [self.governed], "crowd": self.crowd, "bare": [self.bare], "asking": self.asking}
        is_ours = whom in of_ours
        port = self.ports.web if is_ours else self.ports.nginx if whom == "nginx" else self.ports.provider
        path = "/api/v1/firewall/evaluate" if whom == "asking" else "/v1/chat/completions" if is_ours else f"/{kind}/v1/chat/completions"
        job = Job(port, path, request_body(kind), of_ours.get(whom, [self.bare]), connections, seconds, **more)
        before = self.cpu_seconds()
        done = subprocess.run([*python("-m", "orcarouter.bench.load")], input=json.dumps(asdict(job)), capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(f"The load on {whom} failed: {done.stderr[-2000:]}\n{self.said()}")
        after = self.cpu_seconds()
        sample = Sample(**json.loads(done.stdout))
        spent = {name: (after[name] - before[name]) / max(sample.calls, 1) * 1e6 for name in after}
        return Cost(sample, spent["web"], spent.get("nginx", 0.0), spent["postgres"], spent["valkey"])

    # --- What the kernel and the servers know ---------------------------------------------------------------------------------
    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far, to the nanosecond, of each server with its children."""
        return dict(zip(self._children, cpu_seconds(*self._children.values()), strict=True))

    def web_memory(self) -> int:
        """Resident bytes of the web process."""
        return psutil.Process(_tree(self._children["web"])[0]).memory_info().rss

    def valkey_commands(self) -> dict[str, int]:
        """How often each command ran, those inside of scripts included."""
        stats = valkey.client().info("commandstats")
        return {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}

    def valkey_microseconds(self) -> dict[str, tuple[int, int]]:
        """How often each kind of script ran, and for how long in all: ``evalsha`` admits, ``eval`` settles."""
        stats = valkey.client().info("commandstats")
        return {name: (entry["calls"], entry["usec"]) for name in ("evalsha", "eval") if (entry := stats.get(f"cmdstat_{name}"))}

    def last_statements(self) -> dict[int, object]:
        """When each connection of the application's role began its last statement.

        Left out are the bench's own, and those that said last that the gateway lives: that is every other second, not a call's.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid, query_start FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid() AND query NOT LIKE '%keys_gatewayprocess%'"
            )
            return dict(cursor.fetchall())


def request_body(kind: str) -> str:
    """A chat request of 2 KB with six tools; of kind ``evaluate`` a question about one call."""
    if kind == "evaluate":
        return json.dumps({"tool_name": TOOLS[0], "arguments": {"query": "the three offers", "limit": 20}, "surface": "mcp"})
    parameters = {"type": "object", "properties": {"query": {"type": "string", "description": "What to look for"}}, "required": ["query"]}
    described = [{"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": parameters}} for name in TOOLS]
    messages = [
        {"role": "system", "content": "You compare offers of suppliers and answer in one sentence. " * 5},
        {"role": "user", "content": "Which of the three offers is the cheapest, and why?"},
    ]
    body: dict[str, object] = {"model": kind, "messages": messages, "tools": described, "max_tokens": 512}
    if kind in ("burst", "paced"):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body)


def _listens(port: int) -> bool:
    probe = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with suppress(OSError):
        probe.connect()
        probe.close()
        return True
    return False


def cpu_seconds(*children: Child) -> list[float]:
    """CPU time so far of each server with its children, those that have ended too."""
    return [sum(map(_cpu_seconds, _tree(child))) + _of_ended(child) for child in children]


def _of_ended(child: Child) -> float:
    assert child.process is not None
    times = psutil.Process(child.process.pid).cpu_times()
    return times.children_user + times.children_system


def _tree(child: Child) -> list[int]:
    assert child.process is not None
    process = psutil.Process(child.process.pid)
    return [process.pid, *(below.pid for below in process.children(recursive=True))]


def _cpu_seconds(pid: int) -> float:
    # The clock of another process (clock_getcpuclockid(3)); /proc counts in hundredths of a second.
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0
