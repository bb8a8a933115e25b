"""The console's form over a rule: the whole language as fields, and the same rule as JSON beside them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from firewall import clause_rows, services, step_rows
from firewall.clause_rows import OPERATORS, ClauseRow, escaped_lines
from firewall.engine.arguments import decoded
from firewall.engine.egress import MAX_ENTRIES, MAX_ENTRY_CHARS
from firewall.engine.sanitize import PRESETS
from firewall.engine.types import Verdict
from firewall.engine.validate import MAX_PRIORITY, Problem, problems
from firewall.forms import Based
from firewall.models import Rule, RuleVerdict, Stage
from firewall.step_rows import StepRow

SURFACES = [
    (Stage.EVERY.value, "every surface"),
    (Stage.INBOUND.value, "inbound: a request offers it"),
    (Stage.RESPONSE.value, "response: the model calls it"),
    (Stage.MCP.value, "mcp: it is sent through MCP"),
    (Stage.EGRESS.value, "egress: it is about to reach a destination"),
]
VERDICTS = [
    (RuleVerdict.ALLOW.value, "allow"),
    (RuleVerdict.AUDIT.value, "audit: allow, and mark"),
    (RuleVerdict.DENY.value, "deny"),
    (RuleVerdict.SANITIZE.value, "sanitize: allow without secrets"),
    (RuleVerdict.PENDING_APPROVAL.value, "hold: a person decides"),
    (RuleVerdict.CAP_COST.value, "cap the run's cost"),
]
_PRESETS = {
    "aws_access_key": "AWS access keys",
    "aws_secret_key": "AWS secret keys",
    "anthropic_key": "Anthropic keys",
    "openai_key": "OpenAI keys",
    "bearer_token": "Bearer tokens",
    "email": "E-mail addresses",
    "ssn_us": "US social security numbers",
    "credit_card": "Credit card numbers",
}
#: A comma parts thousands: to some readers it parts cents, so anywhere else it is refused.
_DOLLARS = re.compile(r"\$?([0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.([0-9]{1,2}))?")
_CODE = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
_PLAIN = ("label", "tool_name_glob", "skill_name_glob", "stage", "verdict", "priority", "notes", "enabled")
MAX_JSON_CHARS = 256 * 1024


def places(label: str, placeholder: str, help_text: str) -> forms.CharField:
    """A list of destinations, one a line."""
    longest = MAX_ENTRIES * (MAX_ENTRY_CHARS + 2)
    widget = forms.Textarea(attrs=_CODE | {"rows": 3, "placeholder": placeholder})
    return forms.CharField(label=label, required=False, strip=False, max_length=longest, widget=widget, help_text=help_text)


class RuleForm(Based):
    """A rule; ``clauses`` are its argument clauses and ``steps`` those of its sequence, rows of three fields of one name each.

    What belongs to another verdict than the chosen one is neither judged nor kept. ``raw`` is the rule as JSON. Where it was edited since
    it last said what the fields say (``raw_was``), it has the last word.
    """

    label = forms.CharField(label="Name", required=False, max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}))
    tool_name_glob = forms.CharField(label="Tool", required=False, max_length=128, widget=forms.TextInput(attrs=_CODE | {"placeholder": "every tool"}))
    skill_name_glob = forms.CharField(label="Skill", required=False, max_length=128, widget=forms.TextInput(attrs=_CODE | {"placeholder": "any, or none"}))
    stage = forms.ChoiceField(label="Surface", choices=SURFACES, required=False)
    verdict = forms.ChoiceField(label="Then", choices=VERDICTS, initial=RuleVerdict.DENY)
    priority = forms.IntegerField(label="Priority", min_value=0, max_value=MAX_PRIORITY, initial=100, widget=forms.TextInput(attrs={"inputmode": "numeric"}))
    presets = forms.MultipleChoiceField(
        label="Take out of the arguments",
        choices=[(name, _PRESETS.get(name, name)) for name in PRESETS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    custom = forms.CharField(
        label="and what these patterns find",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="One RE2 pattern a line.",
    )
    cap = forms.CharField(
        label="The most a run may cost, in dollars",
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "placeholder": "10.00"}),
        help_text="A call that would take its run beyond is stopped. Below, the rules after this one decide.",
    )
    egress_allow = places("Allow list", "api.example.com", "A host, an address or a block a line. A rule that lets through is about these.")
    egress_deny = places("Deny list", "169.254.169.254\n10.0.0.0/8", "A rule that stops is about these. The other list of each rule has its exceptions.")
    window = forms.CharField(
        label="All of it within",
        required=False,
        max_length=16,
        widget=forms.TextInput(attrs=_CODE | {"placeholder": "no limit"}),
        help_text="90s, 5m, 2h or 1d.",
    )
    enforce = forms.ChoiceField(
        label="When it is complete", choices=[("", "report it afterwards"), ("inline", "the completing call gets the verdict")], required=False
    )
    notes = forms.CharField(label="Notes", required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    enabled = forms.BooleanField(label="Enabled", required=False, initial=True)
    raw = forms.CharField(
        label="JSON",
        required=False,
        strip=False,
        max_length=MAX_JSON_CHARS,
        widget=forms.Textarea,
    )
    raw_was = forms.CharField(required=False, strip=False, max_length=MAX_JSON_CHARS, widget=forms.HiddenInput)

    operators = list(OPERATORS.items())

    def __init__(self, data: QueryDict | None = None, *, is_unsaved: bool = False, **options: Any) -> None:
        #: What stands in it is not what is saved, though nothing was typed since the page came.
        self.is_unsaved = is_unsaved or data is not None
        if data is not None:
            options.setdefault("auto_id", "rule-%s")
            data, self.of_json = _by_json(data)
        super().__init__(data, **options)
        self.clauses: list[ClauseRow] = clause_rows.rows_of(self.initial.get("args_match")) if data is None else clause_rows.sent_rows(data)
        self.steps: list[StepRow] = step_rows.rows_of(self.initial.get("sequence")) if data is None else step_rows.sent_rows(data)

    @classmethod
    def over(cls, rule: Rule) -> "RuleForm":
        return cls.of({name: getattr(rule, name) for name in services.RULE_FIELDS}, version=rule.policy.version)

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, version: int, is_unsaved: bool = False) -> "RuleForm":
        """The form of a rule that has these fields, all of ``services.RULE_FIELDS``."""
        initial = typed_as(fields) | {name: fields[name] for name in ("args_match", "sequence")} | {"version": version}
        return cls(initial=initial, auto_id="rule-%s", is_unsaved=is_unsaved)

    @classmethod
    def with_rows_changed(cls, data: QueryDict) -> "RuleForm":
        """What was typed, not judged yet, with a row of ``clauses`` or ``steps`` more or less as ``rows`` says. JSON that is wrong is told."""
        sent = cls(data)
        sent.is_valid()
        if sent.of_json:
            return sent
        sent.clauses, sent.steps = (rows.changed(own, data.get("rows", "")) for rows, own in ((clause_rows, sent.clauses), (step_rows, sent.steps)))
        form = cls(initial={name: sent[name].data for name in sent.fields}, auto_id="rule-%s", is_unsaved=True)
        form.clauses, form.steps = sent.clauses, sent.steps
        form.initial["raw"] = form.initial["raw_was"] = rule_as_json(sent.fields_of_rule)
        form.fields["label"].widget.attrs.pop("autofocus")
        return form

    @property
    def has_lists(self) -> bool:
        return any(self[name].data or self[name].initial for name in ("egress_allow", "egress_deny"))

    def clean_cap(self) -> int | None:
        if self.cleaned_data.get("verdict") != RuleVerdict.CAP_COST:
            return None
        dollars = _DOLLARS.fullmatch(self.cleaned_data["cap"])
        if dollars is None:
            raise forms.ValidationError("Dollars and cents, such as 10 or 2.50.")
        return int(dollars[1].replace(",", "")) * 100 + int((dollars[2] or "").ljust(2, "0"))

    def clean_window(self) -> int:
        seconds = step_rows.read_window(self.cleaned_data["window"])
        if seconds is None:
            raise forms.ValidationError("A time such as 90s, 5m, 2h or 1d, or nothing.")
        return seconds

    def clean(self) -> None:
        super().clean()
        for message in self.of_json:
            self.add_error("raw", message)
        # A row that nobody filled in would be left out, and the rule be about more calls than it looks.
        for called, rows in (("Clause", self.clauses), ("Step", self.steps)):
            self._refuse_blank(called, rows)
        if "raw" not in self.errors and "verdict" in self.cleaned_data:
            unread = set(self.errors)
            for problem in problems(self.fields_of_rule):
                self._say(problem, unread)

    @property
    def fields_of_rule(self) -> dict:
        """The rule's fields. Of a form that is refused: those that could be read."""
        # A browser sends line ends as CRLF.
        typed = {name: value.replace("\r\n", "\n") if isinstance(value, str) else value for name, value in self.cleaned_data.items()}
        sanitize = {"presets": typed.get("presets", []), "custom": _lines(typed.get("custom"))}
        egress = {"allow": [line.strip() for line in _lines(typed.get("egress_allow"))], "deny": [line.strip() for line in _lines(typed.get("egress_deny"))]}
        return {name: typed[name] for name in _PLAIN if name in typed} | {
            "args_match": clause_rows.args_match(self.clauses),
            "egress": egress if any(egress.values()) else None,
            "sanitize": sanitize if typed.get("verdict") == RuleVerdict.SANITIZE and any(sanitize.values()) else None,
            "sequence": step_rows.sequence(self.steps, window_seconds=typed.get("window") or 0, enforce=typed.get("enforce") or ""),
            "cap_cost_cents": typed.get("cap"),
        }

    def _refuse_blank(self, called: str, rows: Sequence[ClauseRow | StepRow]) -> None:
        for place, row in enumerate(rows, start=1):
            if row.is_blank:
                row.errors[row.first] = "Fill it in, or remove it."
                self.add_error(None, f"{called} {place}: Fill it in, or remove it.")

    def _say(self, problem: Problem, unread: set[str]) -> None:
        """Beside what is wrong: a clause, a step, a line of a list, or the field, unless that was ``unread`` and has its error."""
        spec, _, inner = problem.param.partition(".")
        place = int(found[1]) if (found := re.search(r"\[(\d+)\]", inner)) else None
        if spec == "args_match" and problem.clause is not None:
            self._at_row(self.clauses, "Clause", problem.clause, problem)
        elif spec == "sequence" and place is not None:
            self._at_row(self.steps, "Step", place, problem)
        elif place is not None and spec in ("sanitize", "egress"):
            name = "custom" if spec == "sanitize" else f"egress_{inner.partition('[')[0]}"
            lines = _lines(self.cleaned_data.get(name))
            self.add_error(name, f"“{lines[place].strip()}”: {problem.message}")
        else:
            self.add_error(self._field_of(spec, inner), problem.message)

    def _at_row(self, rows: list[Any], called: str, place: int, problem: Problem) -> None:
        said = [row for row in rows if not row.is_blank]
        said[place].errors[problem.param.rpartition("]")[2].lstrip(".")] = problem.message
        self.add_error(None, f"{called} {rows.index(said[place]) + 1}: {problem.message}")

    def _field_of(self, spec: str, inner: str) -> str | None:
        if spec == "egress":
            permits = Verdict(self.cleaned_data["verdict"]).permits if not inner else inner == "allow"
            return "egress_allow" if permits else "egress_deny"
        name = {"sanitize": "presets", "cap_cost_cents": "cap"}.get(spec, "window" if inner == "window_seconds" else spec)
        return name if name in self.fields else None


# --- The rule as JSON -------------------------------------------------------------------------------------------------
def rule_as_json(fields: Mapping[str, Any]) -> str:
    """The rule as the API takes it, less what says nothing."""
    said = {name: fields[name] for name in services.RULE_FIELDS if fields.get(name) not in (None, "")}
    return json.dumps(said, indent=2, ensure_ascii=False)


def read_json(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """All fields of the rule that a text is, or None and what is wrong with it, each by its path."""
    fields = decoded(text)
    if fields is None:
        return None, [_not_json(text)]
    if found := problems(fields):
        return None, [f"{problem.path}: {problem.message}" for problem in found[:10]]
    return services.whole_rule(fields), []


def typed_as(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the form's fields for a rule, its rows left aside."""
    found, lists, chain = (fields[name] or {} for name in ("sanitize", "egress", "sequence"))
    cents, raw = fields["cap_cost_cents"], rule_as_json(fields)
    return {name: fields[name] for name in _PLAIN} | {
        "presets": found.get("presets", []),
        "custom": "\n".join(map(escaped_lines, found.get("custom", []))),
        "cap": "" if cents is None else f"{cents // 100}.{cents % 100:02}",
        "egress_allow": "\n".join(lists.get("allow", [])),
        "egress_deny": "\n".join(lists.get("deny", [])),
        "window": step_rows.spelt_window(chain.get("window_seconds", 0)),
        "enforce": chain.get("enforce", ""),
        "raw": raw,
        "raw_was": raw,
    }


def as_sent(fields: Mapping[str, Any], sent: QueryDict) -> QueryDict:
    """The form as it would be sent with a rule of these fields in it; what is no field of the rule stays as in ``sent``."""
    data = sent.copy()
    for name, value in typed_as(fields).items():
        data.setlist(name, value if isinstance(value, list) else ["on"] if value is True else [] if value is False else [str(value)])
    rows = clause_rows.columns(clause_rows.rows_of(fields["args_match"])) | step_rows.columns(step_rows.rows_of(fields["sequence"]))
    for name, column in rows.items():
        data.setlist(name, column)
    return data


def _by_json(data: QueryDict) -> tuple[QueryDict, list[str]]:
    """What was sent with its fields as its JSON says, where that was edited after them; and what is wrong with that JSON."""
    raw, was = (data.get(name, "").replace("\r\n", "\n") for name in ("raw", "raw_was"))
    if raw.strip() == was.strip() or not raw.strip() or len(raw) > MAX_JSON_CHARS:
        return data, []
    fields, wrong = read_json(raw)
    if fields is None:
        return data, wrong
    if _were_changed(data, was, fields):
        return data, ["The fields and the JSON were both changed, and say different things. Undo one of them."]
    return as_sent(fields, data), []


def _were_changed(data: QueryDict, was: str, now: Mapping[str, Any]) -> bool:
    """Whether the fields say neither what the JSON said before it was edited nor what it says now."""
    known, _ = read_json(was)
    alone = data.copy()
    alone.setlist("raw", [was])
    form = RuleForm(alone)
    if known is None or not form.is_valid():
        return False
    typed = services.whole_rule(form.fields_of_rule)
    return typed not in (known, now)


def _not_json(text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        return f"Not JSON yet: {getattr(error, 'msg', 'it is nested too deep')}{f' in line {line}' if line else ''}."
    return "A rule is one JSON object, with each name once and finite numbers."


def _lines(text: object) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()] if isinstance(text, str) else []
