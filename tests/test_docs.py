"""What README.md and docs/ say is true: links lead somewhere, tables are judged by the engine, examples and commands are run."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command, get_commands
from django.urls import Resolver404, resolve

from firewall import policy_file
from firewall.engine import rule_json
from firewall.engine.afterwards import in_order
from firewall.engine.decide import decide
from firewall.engine.decide import resolve as policy_in_force
from firewall.engine.destinations import of_call
from firewall.engine.templates import TEMPLATES
from firewall.engine.types import Policy, RunState, Surface, ToolCall, Verdict
from firewall.engine.validate import policy_problems
from firewall.services import whole_rule
from orcarouter import embedded
from orcarouter.demo.installation import Installation
from orcarouter.gateway import app as gateway_app
from tests.stack import ROOT, Stack
from tools import templates_doc
from workspaces import errors

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OUR_PAGES = [page for page in PAGES if page.name != "performance.md"]
FIREWALL, GATEWAY, OPERATION = (ROOT / "docs" / f"{name}.md" for name in ("firewall", "gateway", "operation"))


class Block(NamedTuple):
    language: str
    text: str
    #: Where the page goes on after it.
    end: int


def blocks(page: Path) -> list[Block]:
    return [Block(found[1], found[2], found.end()) for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)]


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Every table: a dict a row, by the words of its header."""
    for found in re.finditer(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE):
        lines = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found[0].splitlines()]
        yield [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def tables_with(page: Path, *header: str) -> list[list[dict[str, str]]]:
    return [table for table in tables(page.read_text()) if table and tuple(table[0]) == header]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- Links ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        if anchor:
            assert anchor in {heading_anchor(heading) for heading in re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)}, target


def heading_anchor(heading: str) -> str:
    """As code forges make it: lower case, punctuation dropped, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", OUR_PAGES, ids=lambda page: page.name)
def test_what_is_named_exists(page):
    text = page.read_text()
    for path in set(re.findall(r"(?<![\w.])/api/[a-z0-9/{}_-]*", text)) - {"/api/", "/api/v1/"}:
        if path.startswith("/api/v1/"):
            assert any(known.startswith(re.sub(r"\{\w+\}", "{id}", path)) for _, known in gateway_app.ROUTES), path
        else:
            resolve(as_route(re.sub(r"\{\w+\}", "1", path)))
    for command in set(re.findall(r"manage\.py (\w+)", text)):
        assert command in get_commands(), command
    for target in set(re.findall(r"`make (\w+)`", text)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def as_route(path: str) -> str:
    """The path with or without its slash, as the middleware would have it."""
    try:
        resolve(path)
    except Resolver404:
        return path.rstrip("/") if path.endswith("/") else f"{path}/"
    return path


def test_the_map_of_folders_is_whole():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    folders = {name.split("/")[0] for name in listed if "/" in name and not name.startswith(".")}
    (table,) = tables_with(ROOT / "README.md", "folder", "")
    mapped = {name.split("/")[0] for row in table for name in quoted(row["folder"])}
    assert folders <= mapped


# --- The firewall's page, by the engine -----------------------------------------------------------------------------
def policy_of(fields: dict) -> Policy:
    assert policy_problems(fields) == []
    rules = tuple(rule_json.rule(number, rule) for number, rule in enumerate(fields["rules"], 1))
    limit = fields.get("max_runs_per_key_per_hour")
    return Policy(1, fields["name"], 1, Verdict(fields["default_verdict"]), fields.get("shadow_mode", False), rules, max_runs_per_key_per_hour=limit)


def test_the_templates_are_the_ones_written():
    (table,) = tables_with(FIREWALL, "template", "default", "what it stops", "what waits for a person")
    assert [(quoted(row["template"])[0], row["default"]) for row in table] == [(each.id, each.default_verdict) for each in TEMPLATES.values()]
    for row in table:
        held = any(rule["verdict"] == Verdict.PENDING_APPROVAL for rule in TEMPLATES[quoted(row["template"])[0]].rules)
        assert held is bool(row["what waits for a person"]), row


def test_each_template_is_told_line_by_line():
    assert templates_doc.page() == (ROOT / "docs" / "templates.md").read_text(), "python -m tools.templates_doc > docs/templates.md"


def is_matched(glob: str, verdict: Verdict, name: str) -> bool:
    rule = {"priority": 1, "tool_name_glob": glob, "verdict": verdict}
    policy = policy_of({"name": "one rule", "default_verdict": "allow", "rules": [rule]})
    return decide(policy, ToolCall(Surface.RESPONSE, name), RunState()).rule_id is not None


def test_globs_match_as_written():
    (plain,) = tables_with(FIREWALL, "glob", "matches", "does not match")
    (doubled,) = tables_with(FIREWALL, "glob", "verdict", "matches", "does not match")
    cases = [(row, Verdict(row["verdict"])) for row in doubled] + [(row, verdict) for row in plain for verdict in (Verdict.ALLOW, Verdict.DENY)]
    assert len(plain) == 8
    for row, verdict in cases:
        glob = "".join(quoted(row["glob"]))
        for name in quoted(row["matches"]):
            assert is_matched(glob, verdict, name), (glob, verdict, name)
        for name in quoted(row["does not match"]):
            assert not is_matched(glob, verdict, name), (glob, verdict, name)


def call_of(row: dict[str, str]) -> ToolCall:
    """What a row of a table describes."""
    (name,) = quoted(row["tool"])
    (arguments,) = quoted(row["arguments"]) if "arguments" in row else (None,)
    told = quoted(row["destination"])[:1] if row.get("destination") else []
    destinations = of_call(told[0], arguments or "{}") if told else None
    return ToolCall(Surface(row.get("surface", "response")), name, arguments, destinations=destinations)


def test_policies_decide_as_written():
    text = FIREWALL.read_text()
    policies = [block for block in blocks(FIREWALL) if block.language == "json policy"]
    assert len(policies) == 5
    for block in policies:
        policy = policy_of(json.loads(block.text))
        rows = list(next(tables(text[block.end :])))
        is_one_run = "surface" not in rows[0]
        calls = [call_of(row) for row in rows]
        judge = partial(decide, policy)
        decisions = [each.decision for each in in_order(policy, calls, RunState(), judge)[0]] if is_one_run else [judge(call, RunState()) for call in calls]
        for row, decision in zip(rows, decisions, strict=True):
            assert decision.verdict == row["verdict"], row
            if place := re.match(r"rule at (\d+)", row["why"]):
                assert next(rule for rule in policy.rules if rule.id == decision.rule_id).priority == int(place[1]), row
            else:
                (why,) = quoted(row["why"])
                assert why == decision.reason_code or decision.reason.startswith(why), row


def test_the_policys_file_is_as_an_export_writes_it():
    (file,) = [block.text for block in blocks(FIREWALL) if block.language == "yaml policy file"]
    fields, rules = policy_file.read(file.encode())
    assert policy_problems({**fields, "rules": rules}) == []
    assert policy_file.write({**fields, "rules": [whole_rule(rule) for rule in rules]}) == file


def test_the_policy_in_force_is_the_one_written():
    (table,) = tables_with(FIREWALL, "the key's policy", "the workspace's default", "in force")
    for row in table:
        own, default = (
            None if row[column] == "none" else Policy(number, column, 1, Verdict.DENY, False, (), enabled=row[column] == "enabled")
            for number, column in enumerate(("the key's policy", "the workspace's default"))
        )
        assert policy_in_force(own, default) is {"the key's": own, "the default": default, "none": None}[row["in force"]], row


def test_where_nothing_is_in_force_calls_are_observed():
    decision = decide(None, ToolCall(Surface.RESPONSE, "shell.exec"), RunState(), observe_mode=True)
    assert (decision.verdict, decision.gap) == (Verdict.OBSERVE, True)


# --- Tables of the other pages --------------------------------------------------------------------------------------
def test_the_environment_is_all_of_it():
    read = set(re.findall(r'env\.\w+\("(\w+)"', (ROOT / "orcarouter" / "settings.py").read_text()))
    read |= set(re.findall(r'secret\("(\w+)"\)', (ROOT / "orcarouter" / "settings.py").read_text()))
    (table,) = tables_with(OPERATION, "variable", "default", "")
    assert {name for row in table for name in quoted(row["variable"])} == read


def test_errors_have_their_status():
    known = {kind.code: kind.status for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OrcaError)}
    (table,) = tables_with(GATEWAY, "status", "code", "when")
    for row in table:
        statuses = [int(status) for status in row["status"].split(",")]
        codes = quoted(row["code"])
        assert [known[code] for code in codes] == (statuses if len(statuses) > 1 else statuses * len(codes)), row


# --- Examples, against the running product --------------------------------------------------------------------------
@pytest.fixture
def environment(stack: Stack, committed, monkeypatch) -> dict[str, str]:
    """The shell of somebody who follows the pages: a token, and a key that is bound to the demo's policy."""
    call_command("bootstrap", stdout=StringIO())
    monkeypatch.setenv("PORT", str(stack.port))
    monkeypatch.setattr(settings, "BASE_URL", stack.url)
    installation = Installation.found(settings.DATA_DIR)
    key = installation.key(installation.policy(), settings.DATA_DIR / "demo-key")["key"]
    token = json.loads((settings.DATA_DIR / "bootstrap.json").read_text())["access_token"]
    return os.environ | {"ORCA_KEY": key, "ORCA_TOKEN": token, "OPENAI_API_KEY": key, "OPENAI_BASE_URL": f"{stack.url}/v1", "NO_PROXY": "127.0.0.1"}


@pytest.mark.stack
@pytest.mark.parametrize("page", OUR_PAGES, ids=lambda page: page.name)
def test_examples_work(page, stack, environment):
    found = blocks(page)
    for place, block in enumerate(found):
        text = block.text.replace("http://127.0.0.1:8000", stack.url)
        if block.language == "python":
            command = [sys.executable, "-c", text]
        elif block.language == "sh" and "curl" in text:
            command = ["bash", "-euo", "pipefail", "-c", text]
        else:
            continue
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert ran.returncode == 0, text + ran.stderr
        assert ran.stdout.strip(), text
        expected = found[place + 1].text if place + 1 < len(found) and found[place + 1].language == "json" else ""
        if expected:
            assert json.loads(ran.stdout) == json.loads(expected), text
        elif ran.stdout.startswith("{"):
            assert "error" not in json.loads(ran.stdout), text + ran.stdout


def test_a_production_installation_can_be_made_as_written(tmp_path):
    """The SQL, the secrets and the commands of the page, over a PostgreSQL that knows nothing of us."""
    servers = embedded.start(tmp_path / "elsewhere")
    try:
        sockets = str(servers.urls.sockets)
        sections: dict[str, list[str]] = {block.language: [] for block in blocks(OPERATION)}
        for block in blocks(OPERATION):
            sections[block.language].append(block.text)
        with psycopg.connect(host=sockets, user="postgres", dbname="postgres", autocommit=True) as superuser:
            superuser.execute("DROP DATABASE orcarouter")
            for role in ("orca_app", "orca_recorder", "orca_owner"):
                superuser.execute(f"DROP ROLE {role}")
            for statement in filter(str.strip, sections["sql"][0].split(";")):
                superuser.execute(statement)
        script = "\n".join(text for text in sections["sh"] if "curl" not in text and "serve" not in text)
        for written, here in {
            "@db.internal/orcarouter": f"@/orcarouter?host={quote(sockets)}",
            "redis://valkey.internal:6379/0": servers.urls.redis_url,
            "pg_dump ": f"{embedded_binary('pg_dump')} ",
            '"$DATABASE_OWNER_URL"': f"'{servers.urls.owner_url}'",
            ".venv/bin/python manage.py": f"{sys.executable} {ROOT / 'manage.py'}",
        }.items():
            assert written in script
            script = script.replace(written, here)
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ORCAROUTER_DATA": str(tmp_path / "data")}
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=240, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        made = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("{")))
        assert made["owner_email"] == "you@example.com"
        assert "the chain holds" in ran.stdout
        assert (tmp_path / "orcarouter.dump").stat().st_size > 10_000
        for secret in ("ENCRYPTION_KEY", "SIGNING_KEY"):
            assert len(base64.b64decode((tmp_path / "secrets" / secret).read_text())) == 32
    finally:
        servers.stop()


def embedded_binary(name: str) -> Path:
    from orcarouter.embedded.postgres import Postgres

    return Postgres.binary(name)
