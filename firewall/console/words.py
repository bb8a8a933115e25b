"""What a rule says and what an event means, in words."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from firewall.engine.glob import Form, parse
from firewall.models import Event

_WHERE = {
    "": "wherever it is seen",
    "inbound": "when a request offers it",
    "response": "when the model calls it",
    "mcp": "when it is sent through MCP",
}
_THEN = {
    "allow": "is let through",
    "audit": "is let through and marked for audit",
    "deny": "is stopped",
}
_DENIED_ON = {
    "inbound": "The request was refused and never reached the provider.",
    "response": "The call was taken out of the answer.",
    "mcp": "The call was answered with an error.",
}


def rule_in_words(glob: str, stage: str, verdict: str) -> SafeString:
    """``A tool whose name begins with kb. is stopped when the model calls it.``"""
    return format_html("{} {} {}.", _subject(glob), _THEN.get(verdict, verdict), _WHERE.get(stage, stage))


def glob_in_words(glob: str, stage: str) -> SafeString:
    """``any tool``, ``tool is kb.* on response``"""
    named = format_html("tool is <code>{}</code>", glob) if parse(glob).form is not Form.EVERY else format_html("any tool")
    return format_html("{} on {}", named, stage) if stage else named


def _subject(glob: str) -> SafeString:
    parsed = parse(glob)
    match parsed.form:
        case Form.EVERY:
            return format_html("Every tool")
        case Form.EXACT:
            return format_html("The tool <code>{}</code>", parsed.literal)
        case Form.PREFIX:
            return format_html("Any tool whose name begins with <code>{}</code>", parsed.literal)
        case Form.SUFFIX:
            return format_html("Any tool whose name ends in <code>{}</code>, and a bare <code>{}</code>,", parsed.literal, parsed.literal[1:])
        case _:
            return format_html("Any tool with <code>{}</code> inside its name", parsed.literal)


def event_in_words(event: Event) -> str:
    """What happened and why, as a sentence or two."""
    reason = event.reason[:1].upper() + event.reason[1:]
    because = reason if reason.endswith((".", "!", "?")) else reason + "."
    if event.verdict == "deny":
        return f"{because} {_DENIED_ON.get(event.surface, '')}".strip()
    if event.gap:
        return f"{because} The call went on, and is shown because observe mode is on."
    return f"{because} The call went on." if event.verdict in ("allow", "audit", "observe") else because
