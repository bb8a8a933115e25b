"""``{% load orca %}``: permissions, money, times and figures as the console writes them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django import template
from django.apps import apps
from django.conf import settings
from django.forms import BoundField, CheckboxInput
from django.template.context import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import conditional_escape, escape, format_html, format_html_join
from django.utils.safestring import SafeString

from workspaces import money, permissions

from . import _charts

register = template.Library()

# The spec's verdict on the left; its word and the name of its colour and shape on the right.
VERDICTS = {
    "allow": ("Allow", "allow"),
    "audit": ("Audit", "audit"),
    "deny": ("Deny", "deny"),
    "sanitize": ("Sanitize", "sanitize"),
    "pending": ("Pending", "pending"),
    "pending_approval": ("Pending", "pending"),
    "observe": ("Observe", "observe"),
    "cap_cost": ("Cap cost", "deny"),
    "block": ("Block", "deny"),
    "mask": ("Mask", "sanitize"),
    "flag": ("Flag", "audit"),
}


@register.simple_tag(takes_context=True)
def may(context: Context, permission: str) -> bool:
    """``{% may 'firewall.change_policy' as may_edit %}``: whether the signed-in member may. The view refuses anyway."""
    request = context.get("request")
    return permissions.allowed(getattr(request, "membership", None), permission)


@register.simple_tag(takes_context=True)
def is_current(context: Context, href: str, exact: bool = False) -> bool:
    """Whether the page being shown is ``href`` or lies below it."""
    path = getattr(context.get("request"), "path", "")
    return path == href or (not exact and path.startswith(href.rstrip("/") + "/"))


@cache
def _sprite() -> str:
    """Where the icons are. Asked for some thousand times on a long page."""
    return static("icons.svg")


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """What ``<c-icon>`` draws, for components that stand on a page a thousand times: without another one inside."""
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}#i-{}"/></svg>', f"i {classes}".strip(), _sprite(), name)


@register.simple_tag(name="verdict")
def verdict_mark(verdict: object, classes: str = "") -> SafeString:
    """What ``<c-verdict>`` draws, for the same reason."""
    shape = verdict_shape(verdict)
    mark = '<span class="{}"><svg aria-hidden="true"><use href="{}#v-{}"/></svg>{}</span>'
    return format_html(mark, f"v v-{shape} {classes}".strip(), _sprite(), shape, verdict_word(verdict))


@register.filter
def verdict_word(verdict: object) -> str:
    return VERDICTS.get(str(verdict), (str(verdict).replace("_", " ").capitalize(), ""))[0]


@register.filter
def verdict_shape(verdict: object) -> str:
    """Name of the verdict's colour and shape; an unknown verdict gets the grey ring rather than none."""
    return VERDICTS.get(str(verdict), ("", "observe"))[1]


@register.filter
def usd(micro_usd: int | None, style: str = "") -> str:
    """Dollars from micro-USD: cents, or four places below ten cents; ``exact`` gives six. ``None`` is unknown, never 0."""
    if micro_usd is None or micro_usd == "":
        return "unknown"
    amount = money.to_usd(micro_usd)
    sign, amount = ("−" if amount < 0 else ""), abs(amount)
    if style == "exact":
        return f"{sign}${amount:,.6f}"
    if 0 < amount < money.to_usd(100):
        return f"< {sign}$0.0001"
    return f"{sign}${amount:,.4f}" if 0 < amount < money.to_usd(100_000) else f"{sign}${amount:,.2f}"


@register.filter
def figure(number: float | None) -> str:
    """A count with thousands separators; a dash for ``None``."""
    return "–" if number is None or number == "" else f"{number:,}"


@register.filter
def compact(number: float | None) -> str:
    """A count in at most five characters and a unit: 18,402, 1.2 M, 3.4 G."""
    if number is None or number == "":
        return "–"
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (100_000, "k")):
        if abs(number) >= size:
            scale = 1_000 if unit == "k" else size
            return f"{number / scale:,.1f}".removesuffix(".0") + f" {unit}"
    return f"{number:,}"


@register.filter
def percent_of(part: float | None, whole: float | None) -> str:
    """``12.9 %``; a dash when the whole is nothing."""
    return f"{100 * (part or 0) / whole:.1f} %" if whole else "–"


@register.filter
def share_of(part: float | None, whole: float | None) -> str:
    """The same as an SVG length: ``12.9%``, within 0 and 100."""
    return f"{min(max(100 * (part or 0) / whole, 0), 100):.2f}%" if whole else "0%"


#: What the console calls what an audit entry is about, where a model's own name is another.
KINDS = {
    "keys.apikey": "key",
    "keys.providercredential": "provider",
    "keys.priceoverride": "price",
    "keys.stoppedrun": "run",
    "workspaces.membership": "member",
    "firewall.settings": "firewall settings",
}
#: How the last word of an audit entry's action reads.
DONE = {
    "accept": "accepted",
    "approve": "approved",
    "change": "changed",
    "consume": "used",
    "create": "created",
    "delete": "deleted",
    "expire": "expired",
    "pause": "paused",
    "reject": "rejected",
    "remove": "removed",
    "resend": "sent again",
    "resume": "resumed",
    "retire": "retired",
    "reveal": "revealed",
    "revoke": "revoked",
    "stop": "stopped",
    "test": "tested",
    "update": "changed",
}


@register.filter
def target_words(target: str) -> str:
    """``keys.apikey`` or ``keys.apikey:3`` as a person says it: key 3."""
    kind, _, pk = target.partition(":")
    try:
        word = KINDS.get(kind) or str(apps.get_model(kind)._meta.verbose_name)
    except (LookupError, ValueError):
        return target
    return f"{word} {pk}".strip()


@register.filter
def action_words(action: str) -> str:
    """``firewall_policy_create``: Firewall policy created."""
    *what, verb = action.split("_")
    return " ".join([*what, DONE.get(verb, verb)]).capitalize()


#: Percent of a bar's track that every bar takes, however short: enough to see.
THINNEST = 1.2


@register.filter
def bar_of(part: float | None, whole: float | None) -> str:
    """Like ``share_of``, but never too thin to see."""
    return max(share_of(part, whole), f"{THINNEST:.2f}%", key=lambda length: float(length.removesuffix("%")))


@register.filter
def bar_from(start: float | None, whole: float | None) -> str:
    """Where such a bar begins: one at the very end is still on its track."""
    return min(share_of(start, whole), f"{100 - THINNEST:.2f}%", key=lambda length: float(length.removesuffix("%")))


@register.filter
def duration(milliseconds: float | None) -> str:
    """How long something took: < 1 ms, 420 ms, 1.9 s, 1 min 43 s, 2 h 14 min, 6 d 17 h."""
    if milliseconds is None or milliseconds == "":
        return "–"
    if milliseconds < 1:
        return "< 1 ms"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(int(milliseconds // 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


@register.filter
def ago(at: datetime | None, style: str = "long") -> str:
    """Time since ``at`` or until it, in words: ``9 h ago``, ``in 90 days``; ``short`` leaves "ago" and "in" away."""
    if not at:
        return "never"
    now = timezone.now()
    past = at <= now
    span = _span(now - at if past else at - now, past=past)
    if not span:
        at = at.astimezone(UTC)
        return f"{at.day} {at:%b}" + ("" if at.year == now.year else f" {at.year}")
    if style == "short":
        return span
    return f"{span} ago" if past else f"in {span}"


def _span(span: timedelta, *, past: bool) -> str:
    """In the largest unit, or empty where a date says more."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 86_400:
        return f"{seconds // 3600} h"
    # What lies ahead is rounded, so that a key of 90 days does not begin at 89.
    days = span.days if past else round(span / timedelta(days=1))
    return f"{days} day{'' if days == 1 else 's'}" if days < (7 if past else 120) else ""


@register.filter
def exact(at: datetime | None) -> str:
    """``2026-11-17 14:31:52 UTC``, what a relative time shows on hover."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""


@register.filter
def iso(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else ""


def _visible(text: str) -> SafeString:
    """Escape, and show what would not be seen (controls, bidi overrides, zero-width, odd spaces) as its code point."""

    def mark(char: str) -> str:
        return escape(char) if char.isprintable() else format_html('<span class="ctrl">U+{}</span>', f"{ord(char):04X}")

    return escape(text) if text.isprintable() else _join(mark(char) for char in text)


def _join(pieces: Iterable[str], glue: str = "") -> SafeString:
    return format_html_join(glue, "{}", ((piece,) for piece in pieces))


@register.filter
def tool_name(name: object) -> SafeString:
    """A tool's name or an id as an agent sent it, with nothing invisible left in it."""
    return _visible(str(name))


@register.filter
def highlight(text: object, marks: Iterable[str] = ()) -> SafeString:
    """``text`` escaped, with each of ``marks`` that occurs in it marked."""
    text = str(text)
    found = sorted((text.index(mark), -len(mark), mark) for mark in marks if mark and mark in text)
    pieces, at = [], 0
    for start, _, mark in found:
        if start >= at:
            pieces += [
                _lines(text[at:start]),
                format_html("<mark>{}</mark>", _lines(mark)),
            ]
            at = start + len(mark)
    return _join([*pieces, _lines(text[at:])])


def _lines(text: str) -> SafeString:
    return _join(map(_visible, text.split("\n")), glue="\n")


# Deeper or longer than this folds: a reader sees the shape first.
FOLD_DEPTH, FOLD_ITEMS = 2, 12
# Nesting past this is shown on one line: arguments come from an agent and may be made to exhaust the stack.
MAX_DEPTH = 24


@register.simple_tag
def json_view(value: object, marks: Sequence[str] = ()) -> SafeString:
    """JSON, or a text that may be JSON cut short, as coloured and folding ``pre`` content; ``marks`` are highlighted."""
    if isinstance(value, str):
        try:
            # Writing it again needs more of the stack than reading it did.
            return _json(json.loads(value), marks or (), 0)
        except (ValueError, RecursionError):
            return highlight(value, marks)
    return _json(value, marks or (), 0)


def _json(value: Any, marks: Sequence[str], depth: int) -> SafeString:
    if depth < MAX_DEPTH and isinstance(value, Mapping) and value:
        items = [
            format_html(
                '<span class="k">{}</span>: {}',
                highlight(json.dumps(str(key), ensure_ascii=False), marks),
                _json(item, marks, depth + 1),
            )
            for key, item in value.items()
        ]
        return _fold("{", "}", items, depth)
    if depth < MAX_DEPTH and isinstance(value, list | tuple) and value:
        return _fold("[", "]", [_json(item, marks, depth + 1) for item in value], depth)
    return highlight(json.dumps(value, ensure_ascii=False, default=str), marks)


def _fold(opening: str, closing: str, items: list[SafeString], depth: int) -> SafeString:
    indent = "  " * (depth + 1)
    lines = format_html_join(",\n", "{}{}", ((indent, item) for item in items))
    body = format_html("{}\n{}\n{}{}", opening, lines, indent[2:], closing)
    if depth < FOLD_DEPTH and (depth == 0 or len(items) <= FOLD_ITEMS):
        return body
    return format_html(
        '<details class="fold"><summary>{} {} {}</summary>{}</details>',
        opening,
        f"{len(items)} more",
        closing,
        body,
    )


@register.simple_tag
def spark(values: Sequence[float], band: Sequence[tuple[float, float]] = ()) -> _charts.Spark:
    return _charts.spark(list(values or ()), list(band or ()))


@register.simple_tag
def stacked(parts: Sequence[tuple[str, float]]) -> list[dict]:
    """Parts ``(verdict, count)`` of one bar with their ``offset`` and ``width`` in percent."""
    shares = _charts.shares([count for _, count in parts])
    return [{"verdict": verdict, "count": count, "offset": offset, "width": width} for (verdict, count), (offset, width) in zip(parts, shares, strict=True)]


@register.simple_tag
def widget(field: BoundField, extra: str = "") -> SafeString:
    """A form field's control in the console's look, tied to its hint and its error; ``extra`` adds classes such as ``mono``."""
    kind = getattr(field.field.widget, "input_type", "")
    base = {"select": "form-select", "checkbox": "form-check-input"}.get(kind, "form-control")
    if field.use_fieldset:
        # Django gives a group's attributes to the group as well: the stylesheet reaches the boxes from outside.
        base = ""
    described = [f"{field.auto_id}-{part}" for part, shown in (("hint", field.help_text), ("error", field.errors)) if shown]
    classes = [base, extra, "is-invalid" if field.errors else "", field.field.widget.attrs.get("class", "")]
    attrs: dict[str, str | bool] = {"class": " ".join(filter(None, classes))}
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if field.errors:
        attrs["aria-invalid"] = "true"
    return conditional_escape(field.as_widget(attrs=attrs))


@register.filter
def is_checkbox(field: BoundField) -> bool:
    """One box on its own, not a group of choices."""
    return isinstance(field.field.widget, CheckboxInput)


@register.simple_tag
def sends_mail() -> bool:
    """Whether this installation has a mail server: without one, nothing that needs mail is offered."""
    return settings.SENDS_MAIL
