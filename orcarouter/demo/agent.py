"""An agent as people write them: ask the model, run the tools that it calls, feed the results back, until it calls no more.

It knows nothing of the firewall but what any client of an API knows: a 400 says what was wrong with a request.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import openai

from orcarouter.demo.stories import MODEL, Story
from orcarouter.demo.toolbox import TOOLS, Toolbox

#: More turns than any story takes: a loop that does not end is a bug.
MOST_TURNS = 20


@dataclass(frozen=True)
class Call:
    """A tool call that reached the agent; ``result`` is what running it gave."""

    id: str
    name: str
    arguments: str
    result: str = ""


@dataclass(frozen=True)
class Turn:
    """One request and what came of it. ``refusal`` is the message of a 400, ``dropped`` the tools it named."""

    request_id: str
    said: str
    offered: tuple[str, ...]
    text: str = ""
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    dropped: tuple[str, ...] = ()


@dataclass
class Agent:
    """``run`` plays a story turn by turn; ``toolbox`` knows afterwards what was run."""

    client: openai.OpenAI
    run_id: str
    toolbox: Toolbox = field(default_factory=Toolbox)

    def run(self, story: Story) -> Iterator[Turn]:
        messages: list[dict] = [{"role": "system", "content": story.system}, {"role": "user", "content": story.task}]
        offered, nudges = story.offers, iter(story.nudges)
        said = story.task
        for _ in range(MOST_TURNS):
            turn = self._ask(messages, offered, said, streams=story.streams)
            yield turn
            said = ""
            if turn.refusal:
                offered = tuple(name for name in offered if name not in turn.dropped)
                if offered == turn.offered:
                    return
                continue
            messages.append(_as_message(turn))
            messages += [{"role": "tool", "tool_call_id": call.id, "content": call.result} for call in turn.calls]
            if not turn.calls:
                said = next(nudges, "")
                if not said:
                    return
                messages.append({"role": "user", "content": said})
        raise RuntimeError(f"{story.slug} does not end.")

    def _ask(self, messages: list[dict], offered: tuple[str, ...], said: str, *, streams: bool) -> Turn:
        ask: dict[str, Any] = {"model": MODEL, "messages": messages, "tools": [TOOLS[name].schema(name) for name in offered]}
        headers = {"X-OrcaRouter-Run-Id": self.run_id}
        try:
            answer = self.client.chat.completions.with_raw_response.create(**ask, stream=streams, extra_headers=headers)
        except openai.BadRequestError as error:
            body = error.body if isinstance(error.body, dict) else {}
            dropped = tuple(factor.partition(":")[0] for factor in body.get("metadata", {}).get("factors", []))
            return Turn(str(error.request_id), said, offered, refusal=body.get("message", error.message), dropped=dropped)
        text, called = _streamed(answer.parse()) if streams else _whole(answer.parse())
        calls = tuple(Call(*call, result=self.toolbox.use(call[1], call[2])) for call in called)
        return Turn(str(answer.request_id), said, offered, text, calls)


def _whole(completion) -> tuple[str, list[tuple[str, str, str]]]:
    """Text and calls (id, name, arguments) of an answer in one piece."""
    message = completion.choices[0].message
    return message.content or "", [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]


def _streamed(chunks) -> tuple[str, list[tuple[str, str, str]]]:
    """The same out of a stream: a call's pieces are put together by their index."""
    text = ""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for piece in choice.delta.tool_calls or ():
                call = calls.setdefault(piece.index, ["", "", ""])
                call[0] = piece.id or call[0]
                if piece.function:
                    call[1] += piece.function.name or ""
                    call[2] += piece.function.arguments or ""
    return text, [(called_as, name, arguments) for called_as, name, arguments in calls.values()]


def _as_message(turn: Turn) -> dict:
    message: dict = {"role": "assistant", "content": turn.text or None}
    if turn.calls:
        message["tool_calls"] = [{"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in turn.calls]
    return message
