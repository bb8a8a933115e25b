"""`python -m orcarouter.bench.backtests [events]`: how fast two workers judge recorded events again, and the CPU time that they and PostgreSQL take.

Servers of its own, in a temporary folder. On a machine that others use too, the CPU time is what to look at.
"""

import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

#: Three events a request and ten requests a run: what a model was offered, and two calls whose arguments no other call has, in a model's spelling.
_EVENTS = """
    INSERT INTO firewall_event (id, workspace_id, occurred_at, source, surface, verdict, tool_name, tools, reason, policy_name, rule_label, request_id,
                                agent_run_id, run_source, key_id, token_name, model_name, args_summary, args_hash)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
           %(workspace)s, at, 'relay', CASE WHEN n %% 3 = 0 THEN 'inbound' ELSE 'response' END, 'allow',
           CASE WHEN n %% 3 > 0 THEN (%(tools)s::text[])[1 + n %% 6] END, CASE WHEN n %% 3 = 0 THEN %(tools)s::text[] ELSE '{}' END,
           'matched *', 'bench', 'all', 'req_' || n / 3, 'run-' || n / 30, 'header', 1 + n / 30 %% 20, 'agent', 'bench',
           CASE WHEN n %% 3 > 0 THEN '{"query": "' || asked || '", "limit": ' || most || '}' END,
           CASE WHEN n %% 3 > 0 THEN encode(sha256(('{"limit":' || most || ',"query":"' || asked || '"}')::bytea), 'hex') END
      FROM generate_series(0, %(events)s - 1) AS n
     CROSS JOIN LATERAL (SELECT now() - interval '7 days' + interval '7 days' * (n / %(events)s::float8) AS at,
                                'what is known of case ' || n || ' of the customer, and when was it seen last?' AS asked, n %% 50 AS most) AS of_it
"""
_USAGE = """
    INSERT INTO keys_usage (id, workspace_id, occurred_at, request_id, key_id, token_name, agent_run_id, run_source, status, outcome, usage_source,
                            cost_micro_usd, latency_ms)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint + 500), 12, '0') || '7fff9' || lpad(to_hex(n), 15, '0'))::uuid,
           %(workspace)s, at, 'req_' || n / 3, 1 + n / 30 %% 20, 'agent',
           'run-' || n / 30, 'header', 200, 'completed', 'provider', 1500, 500
      FROM generate_series(0, %(events)s - 1, 3) AS n
     CROSS JOIN LATERAL (SELECT now() - interval '7 days' + interval '7 days' * (n / %(events)s::float8) AS at) AS of_it
"""


def main() -> None:
    from orcarouter.bench.__main__ import _become_private

    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="orca-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _become_private(folder)
        run(folder, events, stack)


def run(folder: Path, events: int, stack: ExitStack) -> None:
    import psycopg
    from django.conf import settings
    from django.core.management import call_command
    from django.utils import timezone

    import workspaces.services
    from firewall import backtests
    from orcarouter import embedded
    from orcarouter.bench.site import ROOT, RULES, TOOLS, cpu_seconds
    from orcarouter.supervision.child import Child, python
    from workspaces import tenancy
    from workspaces.models import User

    servers = stack.enter_context(embedded.start(folder, on_line=lambda *_: None))
    postgres = next(child for child in servers.children if child.name == "postgres")
    call_command("migrate", database="owner", verbosity=0, interactive=False)
    owner = User.objects.create(email="bench@example.com", created_at=timezone.now())
    workspace = workspaces.services.create_workspace(name="Bench", owner=owner, at=timezone.now())
    with psycopg.connect(settings.DATABASE_RECORDER_URL, autocommit=True) as connection:
        for statement in (_EVENTS, _USAGE):
            connection.execute(statement, {"workspace": workspace.pk, "tools": list(TOOLS), "events": events})
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as connection:
        connection.execute("ANALYZE")  # what autovacuum does within a minute
    options = ["--concurrency", "2", "--without-gossip", "--without-mingle", "--beat", "--schedule", str(folder / "beat")]
    command = python("-m", "celery", "--quiet", "-A", "orcarouter.celery", "worker", *options)
    worker = Child(name="worker", argv=command, cwd=ROOT, on_line=lambda *_: None)
    stack.callback(worker.stop)
    worker.start()
    time.sleep(10)  # its own start is not measured
    names_only = [{"priority": 1, "verdict": "deny", "tool_name_glob": "web.*"}]
    plain = [rule for rule in RULES if rule["verdict"] != "cap_cost" and "sequence" not in rule]
    looking = [*plain, {"priority": 5, "verdict": "deny", "args_match": {"clauses": [{"path": "$.query", "op": "regex", "value": "case [0-9]*7 of"}]}}]
    capped = [*RULES, looking[-1] | {"priority": 7}]
    policies = {"names alone": names_only, "arguments of every call": looking, "cap and sequence": RULES, "cap, sequence and arguments": capped}
    for name, rules in policies.items():
        draft = {"default_verdict": "allow", "rules": rules}
        with tenancy.scope(workspace.pk):
            since = timezone.now() - timedelta(days=8)
            made = backtests.start_backtest(workspace, draft=draft, start=since, actor=owner, at=timezone.now())
        began, spent = time.perf_counter(), cpu_seconds(worker, postgres)
        while not made.is_over:
            time.sleep(0.2)
            with tenancy.scope(workspace.pk):
                made.refresh_from_db()
        took = time.perf_counter() - began
        found = made.events or 1
        of_workers, of_postgres = (after - before for after, before in zip(cpu_seconds(worker, postgres), spent, strict=True))
        print(
            f"{name}: {found:,} events in {took:.1f} s, {found / took / 2:,.0f} a second and core. A million take {of_workers / found * 1e6:.0f} s of the"
            f" workers' CPU and {of_postgres / found * 1e6:.0f} s of PostgreSQL's. {(made.result or {}).get('changed')} changed {made.error}",
            flush=True,
        )


if __name__ == "__main__":
    main()
