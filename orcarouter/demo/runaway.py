"""An agent in a loop that nobody watches: its run may cost a cent, and there it ends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import openai

from orcarouter.demo.installation import Installation
from orcarouter.demo.play import run_page
from orcarouter.demo.screen import BOLD, Screen

SLUG = "runaway"
MODEL = "demo-large"
TASK = "Go through the ledger once more and count to 60."
ANSWER_TOKENS = 80
CAP_CENTS = 1
POLICY = {"name": "demo-runaway", "default_verdict": "allow", "enabled": True, "shadow_mode": False}
RULES = ({"priority": 10, "tool_name_glob": "*", "verdict": "cap_cost", "cap_cost_cents": CAP_CENTS, "label": "a run costs a cent at most"},)
KEY_NAME = "demo-runaway"
#: Far more than a cent pays for.
MOST_TURNS = 100
BAR = 30


@dataclass(frozen=True)
class Turn:
    """One request of the loop. ``refusal`` is the message of a 400, with its ``reason_code``."""

    request_id: str
    refusal: str = ""
    reason_code: str = ""


def loop(client: openai.OpenAI, run_id: str, most_turns: int = MOST_TURNS) -> Iterator[Turn]:
    """Ask the same again and again, each time with all that was said before, until that is refused."""
    messages: list[Any] = [{"role": "user", "content": TASK}]
    headers = {"X-OrcaRouter-Run-Id": run_id}
    for _ in range(most_turns):
        try:
            answer = client.chat.completions.with_raw_response.create(model=MODEL, max_tokens=ANSWER_TOKENS, messages=messages, extra_headers=headers)
        except openai.BadRequestError as error:
            body: Any = error.body if isinstance(error.body, dict) else {}
            yield Turn(str(error.request_id), error.message if not body else body["message"], body.get("metadata", {}).get("reason_code", ""))
            return
        yield Turn(str(answer.request_id))
        messages += [{"role": "assistant", "content": answer.parse().choices[0].message.content}, {"role": "user", "content": TASK}]


def play(*, installation: Installation, key: Mapping, screen: Screen, most_turns: int = MOST_TURNS) -> list[str]:
    """Tell the story; what did not end as it should."""
    run_id, cap = f"demo-{SLUG}-{uuid4().hex[:12]}", CAP_CENTS * 10_000
    screen.gap()
    screen.says("person", TASK)
    screen.says("run", f"{installation.url}{run_page(run_id, key['id'])}", whole=True)
    spent, last = 0, Turn("")
    http_client = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{installation.url}/v1", api_key=key["key"], http_client=http_client, max_retries=0) as client:
        for last in loop(client, run_id, most_turns):
            spent = installation.trace(run_id, key["id"])[0]["cost_micro_usd"] or 0
            if last.refusal:
                screen.says("gateway", last.refusal, word="deny")
            else:
                full = BAR * spent // cap
                screen.says("agent", f"asks again   [{'█' * full}{'·' * (BAR - full)}] ${spent / 1_000_000:.6f} of ${cap / 1_000_000:.2f}", whole=True)
        goes_on = not next(loop(client, f"{run_id}-other")).refusal
    problems = []
    if last.reason_code != "cost_cap":
        problems.append(f"The loop ended otherwise than at its cap: {last.refusal or 'it did not end'}.")
    if not 0 < spent <= cap:
        problems.append(f"The run has spent {spent} micro-dollars, and may spend {cap}.")
    if not goes_on:
        problems.append("Another run of the same key was refused as well.")
    screen.outcome(problems, "The loop was stopped at its cap, before the call that would have exceeded it. Another run goes on.")
    screen.says("", "The page of the run shows the gauge; Stop run there ends one that has money left.", style=BOLD)
    return problems
