"""What a rule says and what an event means, in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from firewall.clause_rows import OPERATORS
from firewall.engine.conditions import Operator, spelt
from firewall.engine.glob import Form, parse
from firewall.models import Event
from firewall.step_rows import window_in_words
from workspaces.templatetags.orca import tool_name

_WHERE = {
    "": "wherever it is seen",
    "inbound": "when a request offers it",
    "response": "when the model calls it",
    "mcp": "when it is sent through MCP",
    "egress": "when it is about to reach a destination",
}
_THEN = {
    "allow": "is let through",
    "audit": "is let through and marked for audit",
    "deny": "is stopped",
    "pending_approval": "is held until a person approves it",
}
_DENIED_ON = {
    "inbound": "The request was refused and never reached the provider.",
    "response": "The call was taken out of the answer.",
    "mcp": "The call was answered with an error.",
    "egress": "The destination was refused.",
}


def rule_in_words(fields: Mapping[str, Any]) -> SafeString:
    """``A tool whose name begins with kb. is stopped when the model calls it, if $.id is 7.`` Fields that are wrong are told as they are."""
    verdict, stage = fields.get("verdict", ""), fields.get("stage") or ""
    skill = fields.get("skill_name_glob")
    subject = format_html("{}{}", _subject(fields.get("tool_name_glob") or ""), format_html(" of a skill named <code>{}</code>", skill) if skill else "")
    conditions = _conditions(fields)
    if_clauses = format_html(", if {}", conditions) if conditions else ""
    if chain := fields.get("sequence"):
        return _chain_in_words(subject, chain, verdict, _WHERE.get(stage, stage), if_clauses)
    if verdict == "cap_cost":
        most = _dollars(fields)
        return format_html(
            "{} is stopped {}{} once its run would cost more than {}. Below, the rules after this one decide.",
            subject,
            _WHERE.get(stage, stage),
            if_clauses,
            most,
        )
    if verdict == "sanitize":
        taken = _taken_out(fields) or "nothing yet"
        return format_html(
            "{} is let through without its secrets {}{}: taken out of its arguments is {}.", subject, _WHERE.get(stage, stage), if_clauses, taken
        )
    # Without a stage an offered tool is not held, only its calls are: a person approves what will run.
    where = "when it is called" if verdict == "pending_approval" and not stage else _WHERE.get(stage, stage)
    return format_html("{} {} {}{}.", subject, _THEN.get(verdict, verdict), where, if_clauses)


def match_in_words(fields: Mapping[str, Any]) -> SafeString:
    """``any tool``, ``tool is kb.* on response, and $.id is 7; redact email``"""
    glob, skill, stage = fields.get("tool_name_glob") or "", fields.get("skill_name_glob"), fields.get("stage")
    said = [format_html("tool is <code>{}</code>", glob) if parse(glob).form is not Form.EVERY else format_html("any tool")]
    said += [format_html(" of skill <code>{}</code>", skill)] if skill else []
    said += [format_html(" on {}", stage)] if stage else []
    if conditions := _conditions(fields):
        said.append(format_html(", and {}", conditions))
    if chain := fields.get("sequence"):
        said.append(format_html(", {} {}", "and it completes" if chain.get("enforce") else "reported once a run has made", _chain(chain)))
    if fields.get("cap_cost_cents") is not None and fields.get("verdict") == "cap_cost":
        said.append(format_html(", and the run would cost more than {}", _dollars(fields)))
    if fields.get("verdict") == "sanitize" and (taken := _taken_out(fields)):
        said.append(format_html("; redact {}", taken))
    return format_html_join("", "{}", ((each,) for each in said))


#: Values of a list that are told one by one, and characters of one.
_MOST_VALUES, _MOST_CHARS = 4, 80


def _conditions(fields: Mapping[str, Any]) -> SafeString:
    """What must hold beside the name: the argument clauses, and where the call goes."""
    found = [*map(_clause, (fields.get("args_match") or {}).get("clauses", []))]
    lists = fields.get("egress") or {}
    permits = fields.get("verdict") in ("allow", "audit", "cap_cost")
    wanted, but = (lists.get(name) or [] for name in (("allow", "deny") if permits else ("deny", "allow")))
    if wanted:
        except_for = format_html(" but not to {}", _places(but)) if but else ""
        found.append(format_html("{} goes{} to {}{}", "it", " only" if permits else "", _places(wanted), except_for))
    return _listed(found)


def _places(entries: list) -> SafeString:
    if len(entries) > _MOST_VALUES:
        return format_html("{} or {} others", format_html_join(", ", "{}", ((_value(each),) for each in entries[:2])), len(entries) - 2)
    return _listed(map(_value, entries), "or")


def _chain(chain: Mapping[str, Any]) -> SafeString:
    """``db.* ×3, then any tool that reaches out, within 5 min``"""
    steps = []
    for step in chain.get("steps", []):
        name = _value(step["match"]) if step["match"] not in ("", "*") else format_html("any tool")
        times = format_html(" ×{}", step["min_count"]) if step.get("min_count", 1) != 1 else ""
        steps.append(format_html("{}{}{}", name, times, " reaching out" if step.get("egress") else ""))
    window = chain.get("window_seconds")
    within = format_html(", all within {}", window_in_words(window)) if isinstance(window, int) and window else ""
    return format_html("{}{}", format_html_join(", then ", "{}", ((step,) for step in steps)), within)


def _chain_in_words(subject: SafeString, chain: Mapping[str, Any], verdict: str, where: str, if_clauses: SafeString | str) -> SafeString:
    if chain.get("enforce"):
        then = _THEN.get(verdict, verdict)
        return format_html("{} {} {}{}, if with it the run has made {}.", subject, then, where, if_clauses, _chain(chain))
    # Afterwards the chain is looked at alone: what else the rule says does not narrow it.
    return format_html("Once a run has made {}, an event reports it. Nothing is stopped by this rule.", _chain(chain))


def _clause(clause: Mapping[str, Any]) -> SafeString:
    op, value = clause["op"], clause.get("value")
    path = format_html("<code>{}</code>", tool_name(clause["path"] or "?"))
    if op == Operator.SHELL_DESTRUCTIVE:
        return format_html("{} is a command that destroys {}", path, "nothing" if value is False else "something")
    if isinstance(value, list):
        value = format_html("{} values", len(value)) if len(value) > _MOST_VALUES else _listed((_value(spelt(each)) for each in value), "or")
    else:
        # What these compare with is a text whatever it looks like.
        value = _value(value if op in (Operator.CONTAINS, Operator.REGEX) and str(value).strip() else spelt(value))
    return format_html("{} {} {}", path, OPERATORS.get(op, op), value)


def _value(value: object) -> SafeString:
    text = str(value)
    return format_html("<code>{}{}</code>", tool_name(text[:_MOST_CHARS]), "…" if len(text) > _MOST_CHARS else "")


def _taken_out(fields: Mapping[str, Any]) -> SafeString:
    found = fields.get("sanitize") or {}
    named = [_value(name) for name in found.get("presets", [])]
    if custom := found.get("custom"):
        named.append(format_html("what {} of its own find{}", "a pattern" if len(custom) == 1 else f"{len(custom)} patterns", "s" if len(custom) == 1 else ""))
    return _listed(named)


def _dollars(fields: Mapping[str, Any]) -> SafeString:
    cents = fields.get("cap_cost_cents")
    return _value("?" if cents is None else f"${cents // 100:,}.{cents % 100:02}")


def _listed(each: Iterable[SafeString], last: str = "and") -> SafeString:
    """``a, b and c``; "" of nothing."""
    *others, end = [*each] or [SafeString()]
    return format_html("{} {} {}", format_html_join(", ", "{}", ((other,) for other in others)), last, end) if others else end


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
