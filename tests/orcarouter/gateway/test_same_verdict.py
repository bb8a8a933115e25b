"""One engine: a call has the same verdict on the relay, at the hook and in the sandbox, whatever the policy."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx2 as httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firewall.engine.types import Rule, Verdict
from firewall.engine.validate import problems
from tests.figures import lived
from tests.firewall.engine import strategies
from tests.orcarouter.gateway.conftest import Agent, make_agent
from workspaces import tenancy
from workspaces.permissions import Role

_numbers = count()

#: Some lead nowhere, and some are names that only the hook looks up, where its caller waits.
PLACES = ["10.1.2.3", "http://8.8.8.8/x", "http://0x0A000001:8080/", "https://[::ffff:10.0.0.1]/", "1.1.1.1"]
texts = st.sampled_from(["", "rm -rf /", "ls", "ann@example.com", *PLACES])
values = texts | st.sampled_from([0, 1, 1.0, -1, 2.5, 2**53, 2**53 + 1]) | st.booleans() | st.none() | st.lists(texts, max_size=2)
arguments = st.dictionaries(st.sampled_from(["a", "b", "url", "host"]), values, max_size=3)
names = st.sampled_from(["kb", "shell.rm", "shell__rm", "db.exec", "exec", "a"])
entries = st.lists(st.sampled_from(["10.0.0.0/8", "8.8.8.8", "0.0.0.0/0"]), max_size=2).map(tuple)


def as_json(rule: Rule) -> dict:
    """The rule as it is saved; a cap that nothing here reaches, as only the relay's calls cost something."""
    return {
        "priority": rule.priority,
        "stage": rule.stage or "",
        "tool_name_glob": rule.tool_name_glob,
        "verdict": rule.verdict,
        "enabled": rule.enabled,
        "args_match": {"clauses": [{"path": each.path, "op": each.op, "value": _plain(each.value)} for each in rule.args_match]},
        **({"sanitize": rule.sanitize.as_json()} if rule.sanitize and rule.verdict is Verdict.SANITIZE else {}),
        **({"sequence": rule.sequence.as_json()} if rule.sequence else {}),
        **({"egress": {"allow": list(rule.egress.allow), "deny": list(rule.egress.deny)}} if rule.egress else {}),
        **({"cap_cost_cents": 100_000} if rule.verdict is Verdict.CAP_COST else {}),
    }


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


rules = strategies.whole_rules.map(as_json).filter(lambda rule: not problems(rule))
egress_rules = st.builds(
    lambda verdict, lists: {"verdict": verdict, "egress": {"allow": list(lists[0]), "deny": list(lists[1])}},
    st.sampled_from(["allow", "deny"]),
    st.tuples(entries, entries),
).filter(lambda rule: not problems(rule))
policies = st.fixed_dictionaries(
    {"default_verdict": strategies.verdicts, "shadow_mode": st.booleans(), "rules": st.lists(rules | egress_rules, max_size=6)},
    optional={"max_runs_per_key_per_hour": st.just(100_000)},
)


@dataclass
class Ways:
    """The ways to judge a call; each makes it in a run of its own."""

    agent: Agent
    policy_id: int = 0
    held: int = 0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    def under(self, policy: dict) -> None:
        if self.held > 50:
            # So many calls of one key may wait.
            self.agent, self.held = make_agent(self.agent.stack, is_firewall_gateway=True), 0
        self.policy_id = self.agent.policy(f"policy {next(_numbers)}", **policy).pk

    def sandbox(self, surface: str, name: str, given: dict) -> tuple:
        body = {"policy_id": self.policy_id, "surface": surface, "tool_name": name, "arguments": given}
        answer = self.agent.tenant.client(Role.OWNER).post("/api/workspace/firewall/test", body, content_type="application/json")
        return _told(answer.json())

    def hook(self, surface: str, name: str, given: dict) -> tuple:
        body = {"surface": surface, "tool_name": name, "arguments": given, "agent_run_id": f"hook-{next(_numbers)}"}
        told = _told(self.client.post(f"{self.agent.stack.url}/api/v1/firewall/evaluate", json=body, headers=self._headers()).json())
        self.held += told[0] == "pending_approval"
        return told

    def relay(self, name: str, given: dict) -> tuple:
        messages = [{"role": "user", "content": f"invent {name} {json.dumps(given)}"}]
        headers = self._headers() | {"X-OrcaRouter-Run-Id": f"relay-{next(_numbers)}"}
        body = {"model": "demo-small", "messages": messages}
        answer = self.client.post(f"{self.agent.stack.url}/v1/chat/completions", json=body, headers=headers)
        with tenancy.scope(self.agent.workspace.pk):
            found = list(self.agent.workspace.events.filter(request_id=answer.headers["x-orca-request-id"], surface="response").order_by("id"))
        if found[0].verdict == "pending_approval":
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "firewall_approval_pending")
            self.held += 1
        else:
            assert answer.status_code == 200, answer.text
            called = bool(answer.json()["choices"][0]["message"].get("tool_calls"))
            assert called is (found[0].verdict != "deny")
        return found[0].verdict, found[0].rule_id, found[0].reason_code, found[0].reason

    def _headers(self) -> dict:
        return {"Authorization": f"Bearer {self.agent.token}"}


def _told(answer: dict) -> tuple:
    return answer["verdict"], answer["rule_id"], answer["metadata"]["reason_code"], answer["reason"]


@pytest.fixture
def ways(stack, committed) -> Iterator[Ways]:
    made = Ways(make_agent(stack, is_firewall_gateway=True))
    yield made
    made.client.close()


@lived
@example(policy={"default_verdict": "allow", "rules": [{"verdict": "deny", "egress": {"allow": [], "deny": ["10.0.0.0/8"]}}]}, called=[("kb", {"url": "ls"})])
@given(policy=policies, called=st.lists(st.tuples(names, arguments), min_size=1, max_size=3))
def test_a_call_has_one_verdict_wherever_it_is_judged(ways, policy, called):
    ways.under(policy)
    for name, given_arguments in called:
        expected = ways.sandbox("response", name, given_arguments)
        assert ways.relay(name, given_arguments) == expected
        for surface in ("response", "mcp", "egress"):
            assert ways.hook(surface, name, given_arguments) == ways.sandbox(surface, name, given_arguments)
