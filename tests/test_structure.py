"""The shape of the whole: imports point left, engines are pure, rows are reached through their workspace."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parent.parent
APPS = ["workspaces", "guardrails", "firewall", "keys", "approvals", "anomalies", "orcarouter"]
SOURCES = sorted(path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)
#: Rows that belong to a workspace: their managers are for selectors alone.
TENANT_MODELS = {
    "Membership", "Invitation", "AccessToken", "AuditEntry", "IdempotencyRecord",
    "Policy", "PolicyVersion", "Rule", "Event", "Settings", "ToolDay", "ToolTally", "ApiKey", "ProviderCredential", "ProviderModel", "Usage",
    "ReviewPlan", "WebhookEndpoint", "Delivery", "Attempt", "Approval", "Vote", "KeptAnswer",
    "Budget", "BudgetNotice", "PriceOverride", "StoppedRun", "LedgerEntry", "LedgerDay",
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def reaches_rows(path: Path) -> bool:
    """Whether a file is an api, a console or a services one: they reach rows through their workspace."""
    parts = {path.stem, *path.relative_to(ROOT).parts}
    return bool(parts & {"api", "console", "services", "provider_services", "tool_services", "money_services"})


def test_imports_point_left_and_engines_are_pure():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stdout[-3000:]


@pytest.mark.parametrize("path", [path for path in SOURCES if reaches_rows(path)], ids=name_of)
def test_rows_are_reached_through_their_workspace(path):
    tree = ast.parse(path.read_text())
    found = [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "objects" and ast.unparse(node.value).rpartition(".")[2] in TENANT_MODELS)
        or (isinstance(node, ast.Name) and node.id == "get_object_or_404")
    ]
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_is_named_for_what_it_holds_and_can_be_read_at_once(path):
    assert path.stem not in {"rules", "utils", "helpers", "misc", "common"}
    assert len(path.read_text().splitlines()) <= 450


def test_every_package_says_what_lives_in_it():
    packages = [
        path for path in SOURCES if path.name == "__init__.py" and path.parent.name not in {"management", "commands", "templatetags", "urls", "migrations"}
    ]
    assert [name_of(path) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_nothing_imports_the_composition_root():
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] != "orcarouter"
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orcarouter"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("orcarouter") for alias in node.names))
    ]
    assert found == []


@pytest.mark.parametrize("path", [path.relative_to(ROOT / "templates").as_posix() for path in sorted((ROOT / "templates").rglob("*.html"))])
def test_a_template_can_be_read(path):
    get_template(path)
