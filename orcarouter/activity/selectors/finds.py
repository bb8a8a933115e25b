"""Search: a few of each kind whose name, id or beginning fits. Each look is bounded or served by an index."""

from dataclasses import dataclass, field

from django.db.models import Q

from firewall.models import Policy, Rule
from firewall.selectors import tools_seen
from keys.models import ApiKey
from workspaces.models import Workspace

#: Of each kind.
MOST = 10
#: Newest rows in which runs are looked for by a part of their id.
RUNS_FROM = 5_000


@dataclass(slots=True)
class Finds:
    keys: list[ApiKey] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    #: (key id, run id)
    runs: list[tuple[int, str]] = field(default_factory=list)
    #: Request ids with something recorded.
    requests: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.keys) + len(self.policies) + len(self.rules) + len(self.tools) + len(self.runs) + len(self.requests)


def search(workspace: Workspace, text: str, *, sees_runs: bool) -> Finds:
    """What ``text`` names. ``sees_runs`` False leaves out what a member may not read: tools, runs and requests."""
    found = Finds()
    found.keys = list(workspace.api_keys.filter(Q(name__icontains=text) | _of_mask(text))[:MOST])
    found.policies = list(workspace.policies.filter(name__icontains=text)[:MOST])
    found.rules = list(workspace.rules.filter(Q(label__icontains=text) | Q(tool_name_glob__icontains=text)).select_related("policy")[:MOST])
    if sees_runs:
        found.tools = [tool for tool in tools_seen(workspace) if text.lower() in tool.lower()][:MOST]
        found.runs = _runs(workspace, text)
        found.requests = [text] if _has_request(workspace, text) else []
    return found


def _of_mask(text: str) -> Q:
    """A key by what its mask shows: ``sk-orca-a1b2****yz90``, or a part of it."""
    start, _, end = text.removeprefix("sk-orca-").partition("****")
    if not start:
        return Q(pk__in=[])
    return Q(token_start=start[:4], token_end=end[:4]) if end else Q(token_start=start[:4]) | Q(token_end=start[-4:]) if len(start) >= 4 else Q(pk__in=[])


def _runs(workspace: Workspace, text: str) -> list[tuple[int, str]]:
    """By the whole id anywhere, by a part of it among the newest calls."""
    found: dict[tuple[int, str], None] = {}
    for rows in (workspace.usage, workspace.events):
        keys = rows.filter(agent_run_id=text, key_id__isnull=False).order_by().values_list("key_id", flat=True).distinct()[:MOST]
        found |= {(key_id, text): None for key_id in keys if key_id is not None}
    newest = workspace.usage.filter(agent_run_id__isnull=False).order_by("-pk").values_list("key_id", "agent_run_id")[:RUNS_FROM]
    found |= {(key_id, run_id): None for key_id, run_id in newest if run_id and text.lower() in run_id.lower()}
    return list(found)[:MOST]


def _has_request(workspace: Workspace, text: str) -> bool:
    return workspace.usage.filter(request_id=text).exists() or workspace.events.filter(request_id=text).exists()
