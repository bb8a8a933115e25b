"""Play a story and tell it: the agent's own view beside what the gateway says it did. Then judge how it ended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import openai
from django.urls import reverse

from orcarouter.demo.agent import Agent, Turn
from orcarouter.demo.installation import Installation
from orcarouter.demo.screen import DIM, Screen
from orcarouter.demo.stories import Ending, Story


@dataclass
class Ran:
    """What a story came to. ``events`` are the gateway's, ``reached`` the calls that the agent got, each with its request."""

    run_id: str
    ran: list[str]
    events: list[dict] = field(default_factory=list)
    reached: list[tuple[str, str]] = field(default_factory=list)

    def denied(self, surface: str) -> Counter[str]:
        return Counter(event["tool_name"] for event in self.events if event["surface"] == surface and event["verdict"] == "deny")


def play(story: Story, *, installation: Installation, key: Mapping, screen: Screen) -> list[str]:
    """Tell the story turn by turn; what did not end as it should, empty if all did."""
    run_id = f"demo-{story.slug}-{uuid4().hex[:12]}"
    client = openai.OpenAI(base_url=f"{installation.url}/v1", api_key=key["key"], http_client=openai.DefaultHttpxClient(trust_env=False))
    with client:
        agent = Agent(client, run_id)
        told = Ran(run_id, agent.toolbox.ran)
        offered: tuple[str, ...] = ()
        for turn in agent.run(story):
            events = installation.events(turn.request_id)
            told.events += events
            told.reached += [(turn.request_id, call.name) for call in turn.calls]
            _tell(screen, turn, events, is_new_offer=turn.offered != offered)
            _tell_cost(screen, installation.trace(run_id, key["id"])[1].get(turn.request_id), turn.request_id)
            offered = turn.offered
    problems = wrong_with(told, story.ending)
    total, _ = installation.trace(run_id, key["id"])
    screen.outcome(problems, story.moral)
    screen.says("in all", f"{_count(total['calls'], 'call')} · {_tokens(total)} · {_money(total['cost_micro_usd'])}", style=DIM)
    screen.says("run", f"{installation.url}{run_page(run_id, key['id'])}", whole=True)
    return problems


def run_page(run_id: str, key_id: int) -> str:
    """The console's page of a run."""
    return reverse("console:run", args=[key_id, run_id])


def wrong_with(told: Ran, ending: Ending) -> list[str]:
    """Where the story did not end as it should, in words."""
    found = []
    if set(told.ran) != ending.ran:
        found.append(f"The agent ran {_names(told.ran)}; it should have run {_names(ending.ran)}.")
    if (stripped := told.denied("response")) != Counter(ending.stripped):
        found.append(f"Taken out of answers: {_counts(stripped)}; it should have been {_counts(ending.stripped)}.")
    if (refused := set(told.denied("inbound"))) != ending.refused:
        found.append(f"Refused on offer: {_names(refused)}; it should have been {_names(ending.refused)}.")
    judged = {(event["request_id"], event["tool_name"]) for event in told.events if event["surface"] == "response" and event["verdict"] == "allow"}
    if unjudged := set(told.reached) - judged:
        found.append(f"Reached the agent without an event that allows it: {_names(name for _, name in unjudged)}.")
    return found


# --- Telling --------------------------------------------------------------------------------------------------------
def _tell(screen: Screen, turn: Turn, events: Sequence[Mapping], *, is_new_offer: bool) -> None:
    screen.gap()
    if turn.said:
        screen.says("person", turn.said)
    if is_new_offer:
        screen.says("agent", f"offers its model {', '.join(turn.offered)}")
        for event in (event for event in events if event["surface"] == "inbound"):
            _tell_verdict(screen, event, f"{', '.join(event['tools']) or event['tool_name']} — ")
    if turn.refusal:
        screen.says("agent", f"gets 400: {turn.refusal}")
        return
    judged = [event for event in events if event["surface"] == "response"]
    lost_some = any(event["verdict"] == "deny" for event in judged)
    if turn.text and not lost_some:
        screen.says("model", f"says: {turn.text}")
    results = {call.name: call.result for call in turn.calls}
    for event in judged:
        screen.says("model", f"calls {event['tool_name']} {event['args_summary']}")
        _tell_verdict(screen, event)
        if event["verdict"] != "deny":
            screen.says("agent", f"runs it: {results.get(event['tool_name'], '')}")
    if lost_some:
        screen.says("agent", f"sees no call, and reads: {turn.text}")


def _tell_verdict(screen: Screen, event: Mapping, what: str = "") -> None:
    code = f" ({event['reason_code']})" if event["reason_code"] else ""
    screen.says("gateway", f"{what}{event['reason']}{code}", word=event["verdict"])


def _tell_cost(screen: Screen, call: Mapping | None, request_id: str) -> None:
    used = f"{_tokens(call)} · {_money(call['cost_micro_usd'])} · " if call else ""
    screen.says("", f"{used}{request_id}", style=DIM)


def _tokens(used: Mapping) -> str:
    return f"{used['prompt_tokens'] or 0:,} tokens in, {used['completion_tokens'] or 0:,} out"


def _money(micro_usd: int | None) -> str:
    return "cost unknown" if micro_usd is None else f"${micro_usd / 1_000_000:.6f}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _names(names) -> str:
    return ", ".join(sorted(set(names))) or "nothing"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} × {counts[name]}" for name in sorted(counts)) or "nothing"
