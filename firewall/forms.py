"""The console's forms over policies; ``rule_form`` has that over a rule. They read what was typed; whether it may be saved, the services judge."""

from django import forms

from firewall.engine.validate import MAX_RUNS_PER_HOUR
from firewall.models import DefaultVerdict, Policy
from firewall.policy_file import MAX_BYTES, MOST
from workspaces.errors import OrcaError


class Based(forms.Form):
    """A form over one version of a policy: what somebody else changed meanwhile is not overwritten unseen."""

    version = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=1)

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
    max_runs_per_key_per_hour = forms.IntegerField(
        label="Runs that a key may begin in an hour",
        required=False,
        min_value=1,
        max_value=MAX_RUNS_PER_HOUR,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "placeholder": "no limit"}),
        help_text="So that a cap on a run's cost is not evaded by a new run for each call.",
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


class ForkForm(Based):
    name = forms.CharField(label="Name of the copy", max_length=64, widget=forms.TextInput(attrs={"autocomplete": "off"}))


class ImportForm(Based):
    file = forms.FileField(
        label="File",
        required=False,
        help_text=f"YAML or JSON, as an export has it; at most {MOST}, and 1 MB as text.",
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
