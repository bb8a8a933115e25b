"""The console's forms over policies and rules. They read what was typed; whether it may be saved, the services judge."""

from django import forms

from firewall.engine.validate import NOT_YET
from firewall.models import DefaultVerdict, Policy, Rule, RuleVerdict, Stage
from firewall.policy_file import MAX_BYTES
from workspaces.errors import OrcaError

SURFACES = [
    (Stage.EVERY.value, "every surface"),
    (Stage.INBOUND.value, "inbound: a request offers it"),
    (Stage.RESPONSE.value, "response: the model calls it"),
    (Stage.MCP.value, "mcp: it is sent through MCP"),
]


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
    label = forms.CharField(label="Name", required=False, max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}))
    tool_name_glob = forms.CharField(
        label="Tool",
        required=False,
        max_length=128,
        widget=forms.TextInput(attrs={"placeholder": "every tool", "autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}),
    )
    stage = forms.ChoiceField(label="Surface", choices=SURFACES, required=False)
    verdict = forms.ChoiceField(label="Then", choices=[choice for choice in RuleVerdict.choices if choice[0] not in NOT_YET], initial=RuleVerdict.DENY)
    priority = forms.IntegerField(label="Priority", min_value=0, max_value=1_000_000, initial=100, widget=forms.TextInput(attrs={"inputmode": "numeric"}))
    notes = forms.CharField(label="Notes", required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    enabled = forms.BooleanField(label="Enabled", required=False, initial=True)

    @classmethod
    def over(cls, rule: Rule) -> "RuleForm":
        own = {name: getattr(rule, name) for name in cls.base_fields if name != "version"}
        return cls(initial=own | {"version": rule.policy.version}, auto_id="rule-%s")

    @property
    def fields_of_rule(self) -> dict:
        # A browser sends line ends as CRLF.
        return {name: value.replace("\r\n", "\n") if isinstance(value, str) else value for name, value in self.cleaned_data.items() if name != "version"}


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
