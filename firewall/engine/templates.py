"""Seven policies to begin with, each useful as it stands and explained line by line by its rules' labels and notes.

The cap on what a run may cost comes first in each (spec/decisions.md 6.2): under it the walk goes on, over it nothing goes on.
Source: spec/firewall.md 8.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firewall.engine.presets import (
    COMMAND_TEXTS,
    CREDENTIAL_FILES,
    DESTRUCTIVE_COMMANDS,
    INSIDE_ADDRESSES,
    KEYS,
    NO_METADATA,
    SECRETS_IN_ARGUMENTS,
    SECRETS_THEN_OUT,
    SHELL_BY_NAME,
    Fields,
    at_each,
    cap,
    rule,
)

#: Between two rules, so that a later one fits in without moving the rest.
PRIORITY_STEP = 10

# A word followed by space or a comment: 'delete' in a compared text, and names such as updated_at, are no statement.
_WRITING_SQL = (
    r"(?i)\b(?:insert|update|delete|merge|drop|truncate|alter|create|grant|revoke|copy)(?:\s|/\*|--)|\breplace(?:\s|/\*|--)+into\b"
    r"|\bselect\b[^;]*\binto\b|(?:^|;)\s*(?:call|exec|execute|do|load)\b"
)
# A query may be put in plain words too, "how to update a chart": here a statement has to have its form. ~ is space or comments.
_GAP = r"(?:\s|/\*.*?\*/|--.*)+"
_WRITING_QUERY = (
    r"(?i)\b(?:(?:insert|merge|replace)~(?:into|overwrite)|update~(?:only~)?(?:\"[^\"]*\"|\S+)~(?:\w+~)*set|delete~(?:from|\S+~where)"
    r"|select\b[^;]*\binto~\S+~from|copy~[^;]+~(?:from|to)~(?:'|program|std))|\bload~data\b"
).replace("~", _GAP)
_CHANGING_QUERY = (
    r"(?i)\b(?:drop|alter|create)~(?:or~replace~)?(?:\w+~)?(?:table|view|index|schema|database|user|role|function|procedure|trigger)\b"
    r"|(?:^|;)\s*(?:truncate~\S|(?:grant|revoke)~[^;]+~(?:on|to|from)~|exec(?:ute)?~\S|call~\S+\s*\(|do~\$)"
).replace("~", _GAP)
# Options may stand before the word that matters: kubectl -n prod apply. ~ is other words of the same command, ! the word's end.
_OTHER_WORDS, _WORD_ENDS = r"\s(?:(?:\\\n|[^;&|\n])*\s)?", r"(?:\s|$|[;&|<>)'\"`])"
_PUBLISHING = (
    r"(?i)\b(?:gh~pr~merge|gh~release~create|(?:npm|yarn|pnpm|bun|lerna|cargo|poetry|uv|hatch|flit)~publish|gem~push|twine~upload|(?:docker|podman|buildah)~push)!"
).replace("~", _OTHER_WORDS).replace("!", _WORD_ENDS)  # fmt: skip
_PUSHING = r"(?i)\bgit~push!".replace("~", _OTHER_WORDS).replace("!", _WORD_ENDS)
_ROLLING_OUT = (
    r"(?i)\b(?:(?:terraform|terragrunt|tofu|pulumi)~(?:apply|up|import)|(?:kubectl|oc)~(?:apply|replace)|helm~(?:install|upgrade)|ansible-playbook"
    r"|(?:cdk|sls|serverless|flyctl|fly|gcloud|aws|az|docker|wrangler|firebase)~deploy|argocd~sync)!"
).replace("~", _OTHER_WORDS).replace("!", _WORD_ENDS)  # fmt: skip
_TOUCHING = (
    r"(?i)\b(?:(?:kubectl|oc)~(?:create|exec|scale|rollout|patch|edit|cordon|drain|label|annotate|set)|systemctl~(?:re)?(?:start|load)|service~restart)!"
).replace("~", _OTHER_WORDS).replace("!", _WORD_ENDS)  # fmt: skip
_PERSONAL = {"presets": ["ssn_us", "credit_card"], "custom": []}


@dataclass(frozen=True, slots=True)
class Template:
    """A policy that is not made yet. ``rules`` have their priorities. A run's cap means little to a loop that begins a new run each
    time, so there is a limit to those as well."""

    id: str
    name: str
    description: str
    default_verdict: str
    rules: tuple[Fields, ...]
    max_runs_per_key_per_hour: int = 60


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
    "For an agent that edits code and runs commands. Ordinary work goes on; destruction, credentials and inside addresses are stopped, "
    "publishing waits for a person.",
    "audit",
    cap(500, "A coding task rarely needs more; raise it for long ones."),
    *DESTRUCTIVE_COMMANDS,
    *SECRETS_IN_ARGUMENTS,
    *CREDENTIAL_FILES,
    *INSIDE_ADDRESSES,
    *SECRETS_THEN_OUT,
    *at_each(
        COMMAND_TEXTS,
        "pending_approval",
        "A person publishes",
        "Packages, images, releases and merges reach other people and are hard to take back: the command waits until somebody has read it.",
        "regex",
        _PUBLISHING,
    ),
    *at_each(COMMAND_TEXTS, "audit", "Mark pushes", "A push goes on and stands out in the events; a forced one is stopped above.", "regex", _PUSHING),
)
SUPPORT = _template(
    "support",
    "Support",
    "For an agent that answers customers. Only the tools it names may be used, a refund above 50 waits for a person, and messages leave without card "
    "or social security numbers. Put your tools' names in.",
    "deny",
    cap(100, "An answer to a customer costs cents."),
    *SECRETS_IN_ARGUMENTS,
    rule(
        "deny",
        "No harvest of customers",
        "Twenty customers looked up within ten minutes is no conversation: the twentieth is stopped, and so is each after it.",
        tool="customers.get",
        sequence={"window_seconds": 600, "steps": [{"match": "customers.get", "min_count": 20}], "enforce": "inline"},
    ),
    *_tools("allow", "Read the knowledge base", "Reading what is written for customers harms nobody.", "kb.*", "faq.*"),
    *_tools("allow", "Work on tickets", "Its own work: reading, answering and closing tickets.", "tickets.*"),
    *_tools(
        "allow", "Look up a customer", "Reading only: there is no rule for changing an account, and what has no rule is denied.", "customers.get", "orders.get"
    ),
    rule(
        "pending_approval",
        "A person decides above 50",
        "A larger refund waits until somebody has looked at it. The amount is in the unit of your tool.",
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
    rule(
        "audit",
        "Documents, then a web search",
        "Watched afterwards: what was read in documents can leave in the words of a search. The search goes on, and the pair stands out in the events.",
        sequence={"window_seconds": 900, "steps": [{"match": "kb.*"}, {"match": "web_search"}]},
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
        ("$.sql", "$.statement", "$.statements[0]"),
        "deny",
        "No writing SQL",
        "Stops statements that insert, update, delete, merge, copy, drop, truncate, alter, create, grant or revoke, wherever they stand in the text. "
        "Give the tool a database role that may only read as well.",
        "regex",
        _WRITING_SQL,
    ),
    *at_each(
        ("$.query",),
        "deny",
        "No SQL that writes rows",
        "The same of a query, which may be put in plain words too: a statement has to have its form, and a search for how to update a chart goes on.",
        "regex",
        _WRITING_QUERY,
    ),
    *at_each(("$.query",), "deny", "No SQL that changes tables or rights", "The other statements that write, by their form as well.", "regex", _CHANGING_QUERY),
    *DESTRUCTIVE_COMMANDS,
    *SECRETS_IN_ARGUMENTS,
    *CREDENTIAL_FILES,
    *INSIDE_ADDRESSES,
    *SECRETS_THEN_OUT,
    rule(
        "audit",
        "Data, then out",
        "Watched afterwards: a query, then a call that goes to some address. It goes on, and the pair stands out in the events.",
        sequence={"window_seconds": 900, "steps": [{"match": "db.*"}, {"match": "*", "egress": True}]},
    ),
    *_cleaned("Clean messages", _CLEANED_NOTES, *_MAIL),
)
DEVOPS = _template(
    "devops",
    "DevOps",
    "For an agent that looks after systems. Looking goes on, rolling out waits for a person; destruction, credentials and metadata services are stopped.",
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
    NO_METADATA,
    *SECRETS_THEN_OUT,
    *at_each(
        COMMAND_TEXTS,
        "pending_approval",
        "A person rolls out",
        "What is applied to running systems waits until somebody has read the command, a dry run as well. Plans and diffs have other words and go on.",
        "regex",
        _ROLLING_OUT,
    ),
    *at_each(COMMAND_TEXTS, "audit", "Mark restarts and the like", "Smaller changes of running systems go on and stand out in the events.", "regex", _TOUCHING),
)
BROWSER = _template(
    "browser",
    "Browser",
    "For an agent that uses web pages. The public web is open; inside addresses, shells and typed credentials are stopped, uploads wait for a person.",
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
        "pending_approval",
        "A person uploads",
        "A file that is uploaded has left the house, and a page may ask for it: the call waits until somebody has seen which file it is.",
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
    *SECRETS_THEN_OUT,
)

TEMPLATES: Mapping[str, Template] = MappingProxyType({each.id: each for each in (CODING, SUPPORT, RAG, DATA, DEVOPS, BROWSER, BASELINE)})
