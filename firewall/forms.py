"""The console's forms over policies and rules. They read what was typed; whether it may be saved, the services judge."""

import re
from typing import Any

from django import forms
from django.http import QueryDict

from firewall import clause_rows
from firewall.clause_rows import OPERATORS, ClauseRow, escaped_lines
from firewall.engine.sanitize import PRESETS
from firewall.engine.validate import Problem, problems
from firewall.models import DefaultVerdict, Policy, Rule, RuleVerdict, Stage
from firewall.policy_file import MAX_BYTES
from workspaces.errors import OrcaError

SURFACES = [
    (Stage.EVERY.value, "every surface"),
    (Stage.INBOUND.value, "inbound: a request offers it"),
    (Stage.RESPONSE.value, "response: the model calls it"),
    (Stage.MCP.value, "mcp: it is sent through MCP"),
    (Stage.EGRESS.value, "egress: it is about to reach a destination"),
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
_DOLLARS = re.compile(r"\$?([0-9]{1,9})(?:\.([0-9]{1,2}))?")
_GLOB = {"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}


class Based(forms.Form):
    """A form over one version of a policy: what somebody else changed meanwhile is not overwritten unseen."""

    version = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=1)

    #: After a conflict ``(expected_version, current_version)``: what became of the policy between them is shown.
    conflict: tuple[int, int] | None = None

    def refuse(self, error: OrcaError) -> None:
        """Say a service's refusal at the fields that it names."""
        found = error.metadata.get("errors")
        for problem in found if isinstance(found, list) else [{"param": error.param, "message": error.message}]:
            name, message = problem["param"], str(problem["message"])
            if name in self.fields and name != "version":
                self.add_error(str(name), message)
            else:
                self.add_error(None, message)


class PolicyForm(Based):
    name = forms.CharField(label="Name", max_length=64, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    default_verdict = forms.ChoiceField(
        label="If no rule matches",
        choices=DefaultVerdict.choices,
        initial=DefaultVerdict.DENY,
        help_text="Deny: only what a rule allows. Audit: all, and marked.",
    )
    block_notice = forms.BooleanField(label="Tell the agent which tool was blocked, in the answer", required=False, initial=True)
    refuse_unknown_fields = forms.BooleanField(
        label="Under deny, refuse requests with unknown fields",
        required=False,
        initial=True,
        help_text="A provider's new field could offer tools that no rule sees.",
    )

    @classmethod
    def over(cls, policy: Policy) -> "PolicyForm":
        return cls(initial={name: getattr(policy, name) for name in cls.base_fields})

    @property
    def changes(self) -> dict:
        return {name: value for name, value in self.cleaned_data.items() if name != "version"}


class RuleForm(Based):
    """A rule; ``clauses`` are its argument clauses, rows of three fields of one name each.

    What belongs to another verdict than the chosen one is neither judged nor kept.
    """

    label = forms.CharField(label="Name", required=False, max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}))
    tool_name_glob = forms.CharField(label="Tool", required=False, max_length=128, widget=forms.TextInput(attrs=_GLOB | {"placeholder": "every tool"}))
    skill_name_glob = forms.CharField(label="Skill", required=False, max_length=128, widget=forms.TextInput(attrs=_GLOB | {"placeholder": "any, or none"}))
    stage = forms.ChoiceField(label="Surface", choices=SURFACES, required=False)
    verdict = forms.ChoiceField(label="Then", choices=RuleVerdict.choices, initial=RuleVerdict.DENY)
    priority = forms.IntegerField(label="Priority", min_value=0, max_value=1_000_000, initial=100, widget=forms.TextInput(attrs={"inputmode": "numeric"}))
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
    notes = forms.CharField(label="Notes", required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    enabled = forms.BooleanField(label="Enabled", required=False, initial=True)

    operators = list(OPERATORS.items())

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.clauses: list[ClauseRow] = clause_rows.rows_of(self.initial.get("args_match")) if data is None else clause_rows.sent_rows(data)

    @classmethod
    def over(cls, rule: Rule) -> "RuleForm":
        own = {name: getattr(rule, name) for name in (*_PLAIN, "args_match")}
        found, cents = rule.sanitize or {}, rule.cap_cost_cents
        own["presets"] = found.get("presets", [])
        own["custom"] = "\n".join(map(escaped_lines, found.get("custom", [])))
        own["cap"] = "" if cents is None else f"{cents // 100}.{cents % 100:02}"
        return cls(initial=own | {"version": rule.policy.version}, auto_id="rule-%s")

    @classmethod
    def with_rows_changed(cls, data: QueryDict) -> "RuleForm":
        """What was typed, not judged yet, with a row of ``clauses`` more or less as ``rows`` says."""
        sent = cls(data)
        form = cls(initial={name: sent[name].data for name in sent.fields}, auto_id="rule-%s")
        form.clauses = clause_rows.changed(sent.clauses, data.get("rows", ""))
        form.fields["label"].widget.attrs.pop("autofocus")
        return form

    def clean_cap(self) -> int | None:
        if self.cleaned_data.get("verdict") != RuleVerdict.CAP_COST:
            return None
        dollars = _DOLLARS.fullmatch(self.cleaned_data["cap"].replace(",", ""))
        if dollars is None:
            raise forms.ValidationError("Dollars and cents, such as 10 or 2.50.")
        return int(dollars[1]) * 100 + int((dollars[2] or "").ljust(2, "0"))

    def clean(self) -> None:
        super().clean()
        if not self.errors:
            for problem in problems(self.fields_of_rule):
                self._say(problem)

    @property
    def fields_of_rule(self) -> dict:
        """The rule's fields. Of a form that is refused: those that could be read."""
        # A browser sends line ends as CRLF.
        typed = {name: value.replace("\r\n", "\n") if isinstance(value, str) else value for name, value in self.cleaned_data.items()}
        custom = [line for line in typed.get("custom", "").split("\n") if line.strip()]
        sanitize = {"presets": typed.get("presets", []), "custom": custom}
        return {name: typed[name] for name in _PLAIN if name in typed} | {
            "args_match": clause_rows.args_match(self.clauses),
            "sanitize": sanitize if typed.get("verdict") == RuleVerdict.SANITIZE and any(sanitize.values()) else None,
            "cap_cost_cents": typed.get("cap"),
        }

    def _say(self, problem: Problem) -> None:
        """Beside what is wrong: a clause, or the field."""
        if problem.clause is not None:
            said = [row for row in self.clauses if not row.is_blank]
            said[problem.clause].errors[problem.param.rpartition("]")[2].lstrip(".")] = problem.message
            place = self.clauses.index(said[problem.clause]) + 1
            self.add_error(None, f"Clause {place}: {problem.message}")
        elif problem.param.startswith("sanitize.custom"):
            self.add_error("custom", f"“{self._pattern(problem.param)}”: {problem.message}")
        else:
            name = {"sanitize": "presets", "cap_cost_cents": "cap"}.get(problem.param, problem.param)
            self.add_error(name if name in self.fields else None, problem.message)

    def _pattern(self, param: str) -> str:
        place = param.partition("[")[2].rstrip("]")
        return self.fields_of_rule["sanitize"]["custom"][int(place)] if place else "Patterns"


_PLAIN = ("label", "tool_name_glob", "skill_name_glob", "stage", "verdict", "priority", "notes", "enabled")


class ForkForm(Based):
    name = forms.CharField(label="Name of the copy", max_length=64, widget=forms.TextInput(attrs={"autocomplete": "off"}))


class ImportForm(Based):
    file = forms.FileField(
        label="File",
        required=False,
        help_text="YAML or JSON, as an export has it; at most 256 KiB.",
        widget=forms.FileInput(attrs={"accept": ".yaml,.yml,.json"}),
    )
    text = forms.CharField(
        label="Or its text",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 14, "class": "mono", "spellcheck": "false", "autocomplete": "off"}),
    )

    def clean(self) -> dict:
        fields = super().clean() or self.cleaned_data
        if not fields.get("file") and not fields.get("text", "").strip():
            self.add_error("file", "Choose a file, or paste its text.")
        return fields

    @property
    def raw(self) -> bytes:
        """What was sent; one byte more than a file may have is enough to refuse it."""
        sent = self.cleaned_data["file"]
        return sent.read(MAX_BYTES + 1) if sent else self.cleaned_data["text"].encode()

    def refuse(self, error: OrcaError) -> None:
        """Say where in the file it is."""
        found = error.metadata.get("errors")
        for problem in found[:20] if isinstance(found, list) else [{"param": error.param, "message": error.message}]:
            self.add_error(None, f"{problem['param']}: {problem['message']}" if problem["param"] else str(problem["message"]))
