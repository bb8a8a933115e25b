"""Seven policies to begin with, each useful as it stands and explained line by line by its rules' labels and notes.

The cap on what a run may cost comes first in each (spec/decisions.md 6.2): under it the walk goes on, over it nothing goes on.
Source: spec/firewall.md 8.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firewall.engine.presets import (
    COMMAND_PATHS,
    CREDENTIAL_FILES,
    DESTRUCTIVE_COMMANDS,
    INSIDE_ADDRESSES,
    KEYS,
    SECRETS_IN_ARGUMENTS,
    SHELL_BY_NAME,
    Fields,
    at_each,
    cap,
    rule,
)

#: Between two rules, so that a later one fits in without moving the rest.
PRIORITY_STEP = 10

# A word followed by space or a comment: 'delete' in a compared text, and names such as updated_at, are no statement.
_WRITING_SQL = r"(?i)\b(?:insert|update|delete|merge|drop|truncate|alter|grant|revoke|copy)(?:\s|/\*|--)"
_PUBLISHING = r"(?i)\b(?:git\s+push|gh\s+(?:pr\s+merge|release)|(?:npm|yarn|pnpm|cargo|poetry)\s+publish|twine\s+upload|docker\s+push)\b"
_ROLLING_OUT = (
    r"(?i)\b(?:(?:terraform|tofu|pulumi)\s+(?:apply|up|import)|kubectl\s+(?:apply|create|exec|scale|rollout|patch|edit)|helm\s+(?:install|upgrade)"
    r"|systemctl\s+(?:re)?(?:start|load)|ansible-playbook)\b"
)
_PERSONAL = {"presets": ["ssn_us", "credit_card"], "custom": []}


@dataclass(frozen=True, slots=True)
class Template:
    """A policy that is not made yet. ``rules`` have their priorities."""

    id: str
    name: str
    description: str
    default_verdict: str
    rules: tuple[Fields, ...]


def _template(template_id: str, name: str, description: str, default_verdict: str, *rules: Fields) -> Template:
    placed = tuple(MappingProxyType({**each, "priority": place * PRIORITY_STEP}) for place, each in enumerate(rules, start=1))
    return Template(template_id, name, description, default_verdict, placed)


def _tools(verdict: str, label: str, notes: str, *globs: str) -> tuple[Fields, ...]:
    return tuple(rule(verdict, f"{label} ({glob})", notes, tool=glob) for glob in globs)


def _cleaned(label: str, notes: str, *globs: str) -> tuple[Fields, ...]:
    """Where the arguments are known: an offered tool has none, and would be denied for it."""
    return tuple(
        rule("sanitize", f"{label} ({glob}, {stage})", notes, tool=glob, stage=stage, sanitize=_PERSONAL) for glob in globs for stage in ("response", "mcp")
    )


_MAIL = ("email.*", "mail.*", "slack.*", "sms.*")
_CLEANED_NOTES = "Card and social security numbers are taken out of what is sent; the rest of the message goes on."

CODING = _template(
    "coding",
    "Coding",
    "For an agent that edits code and runs commands. Ordinary work goes on; destruction, credentials and inside addresses are stopped, publishing is marked.",
    "audit",
    cap(500, "A coding task rarely needs more; raise it for long ones."),
    *DESTRUCTIVE_COMMANDS,
    *SECRETS_IN_ARGUMENTS,
    *CREDENTIAL_FILES,
    *INSIDE_ADDRESSES,
    *at_each(COMMAND_PATHS, "audit", "Mark publishing", "Pushes, releases and published packages go on and stand out in the events.", "regex", _PUBLISHING),
)
SUPPORT = _template(
    "support",
    "Support",
    "For an agent that answers customers. Only the tools it names may be used, refunds only up to 50, and messages leave without card or social "
    "security numbers. Put your tools' names in.",
    "deny",
    cap(100, "An answer to a customer costs cents."),
    *SECRETS_IN_ARGUMENTS,
    *_tools("allow", "Read the knowledge base", "Reading what is written for customers harms nobody.", "kb.*", "faq.*"),
    *_tools("allow", "Work on tickets", "Its own work: reading, answering and closing tickets.", "tickets.*"),
    *_tools(
        "allow", "Look up a customer", "Reading only: there is no rule for changing an account, and what has no rule is denied.", "customers.get", "orders.get"
    ),
    rule(
        "deny",
        "No refund above 50",
        "A larger refund is for a person. The amount is in the unit of your tool.",
        tool="refunds.create",
        where=[("$.amount", "gt", 50)],
    ),
    rule(
        "allow",
        "Offer refunds",
        "An offered tool has no arguments yet; this lets the model know it. What it then calls is judged by its amount.",
        tool="refunds.create",
        stage="inbound",
    ),
    rule(
        "audit",
        "Small refunds, marked",
        "A refund of up to 50 goes on and stands out in the events. One whose amount is no number, or not above 0, has no rule and is denied.",
        tool="refunds.create",
        where=[("$.amount", "gt", 0), ("$.amount", "lt", 50.01)],
    ),
    *_cleaned("Clean messages", _CLEANED_NOTES, "email.send"),
    rule("allow", "Offer e-mail", "Offering the tool is fine: what it sends is cleaned by the rules above.", tool="email.send", stage="inbound"),
)
RAG = _template(
    "rag",
    "RAG",
    "For an agent that answers from documents. It may search and read, and nothing else: text in a document cannot make it act. Put your tools' names in.",
    "deny",
    cap(50, "Searching and answering costs cents."),
    *SECRETS_IN_ARGUMENTS,
    *INSIDE_ADDRESSES,
    *_tools(
        "allow",
        "Search and read",
        "Reading documents is its whole work. What has no rule, such as sending or writing, is denied.",
        *("kb.search", "kb.read", "kb.get", "docs.search", "docs.read", "retrieval.*", "vector.search", "file_search"),
    ),
    *_tools("audit", "Web search, marked", "A question to a web search leaves the house: it goes on and stands out in the events.", "web_search", "web.search"),
)
DATA = _template(
    "data",
    "Data",
    "For an agent that queries databases and makes reports. Reading goes on; statements that write, destructive commands and credentials are stopped, "
    "and messages leave without card or social security numbers.",
    "audit",
    cap(300, "Analyses take many turns over large results."),
    *at_each(
        ("$.query", "$.sql", "$.statement", "$.statements[0]"),
        "deny",
        "No writing SQL",
        "Stops statements that insert, update, delete, merge, copy, drop, truncate, alter, grant or revoke, wherever they stand in the text. "
        "Give the tool a database role that may only read as well.",
        "regex",
        _WRITING_SQL,
    ),
    *DESTRUCTIVE_COMMANDS,
    *SECRETS_IN_ARGUMENTS,
    *CREDENTIAL_FILES,
    *INSIDE_ADDRESSES,
    *_cleaned("Clean messages", _CLEANED_NOTES, *_MAIL),
)
DEVOPS = _template(
    "devops",
    "DevOps",
    "For an agent that looks after systems. Looking goes on, rolling out is marked; destruction, credentials and metadata addresses are stopped.",
    "audit",
    cap(500, "An incident takes many turns; raise it for long ones."),
    *DESTRUCTIVE_COMMANDS,
    *_tools(
        "deny",
        "Nothing is deleted",
        "Stops tools by the verb at the end of their name, whatever system they belong to.",
        "*.delete",
        "*.destroy",
        "*.purge",
        "*.terminate",
    ),
    *SECRETS_IN_ARGUMENTS,
    *CREDENTIAL_FILES,
    *INSIDE_ADDRESSES,
    *at_each(COMMAND_PATHS, "audit", "Mark roll-outs", "Changes of running systems go on and stand out in the events.", "regex", _ROLLING_OUT),
)
BROWSER = _template(
    "browser",
    "Browser",
    "For an agent that uses web pages. The public web is open; inside addresses, uploads, shells and typed credentials are stopped.",
    "audit",
    cap(200, "Pages are long, and an agent may go round in circles on them."),
    *INSIDE_ADDRESSES,
    *SECRETS_IN_ARGUMENTS,
    *at_each(
        ("$.value",),
        "deny",
        "No credential typed",
        "Stops keys that are typed into a page.",
        "regex",
        KEYS,
    ),
    *_tools(
        "deny",
        "No upload",
        "A file that is uploaded has left the house, and a page may ask for it.",
        "browser_file_upload",
        "browser.upload",
        "browser.file_upload",
    ),
    *_tools(
        "audit",
        "Scripts, marked",
        "A script in a page can do all that its user can: it goes on and stands out in the events.",
        "browser_evaluate",
        "browser.evaluate",
    ),
    *SHELL_BY_NAME,
)
BASELINE = _template(
    "baseline",
    "Baseline",
    "For any agent, as the workspace default. Ordinary work goes on; only destructive commands, credentials and inside addresses are stopped.",
    "audit",
    cap(1000, "High enough for ordinary work, low enough for a loop."),
    *DESTRUCTIVE_COMMANDS,
    *SECRETS_IN_ARGUMENTS,
    *CREDENTIAL_FILES,
    *INSIDE_ADDRESSES,
)

TEMPLATES: Mapping[str, Template] = MappingProxyType({each.id: each for each in (CODING, SUPPORT, RAG, DATA, DEVOPS, BROWSER, BASELINE)})
