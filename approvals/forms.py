"""The console's forms over holds' settings. They read what was typed; what is allowed, the services say. Fields have the API's names."""

from typing import Any

from django import forms

from approvals import settings_services
from approvals.models import ReviewPlan, Settings, WebhookEndpoint
from firewall.models import Policy
from firewall.models import Settings as FirewallSettings
from workspaces.models import Workspace
from workspaces.permissions import Role

_ROLES = [(role.label.lower(), f"{role.label} or above") for role in Role if role >= Role.DEVELOPER]
_EMPTY_FOR_STORED = forms.PasswordInput(attrs={"autocomplete": "off"})


class PartForm(forms.Form):
    """One box of the settings page: ``part`` says which was sent, ``changes`` is what the service takes."""

    part = ""
    permission = "firewall.change_guarded_settings"
    saved = "Saved. It is in force from the next held call."

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name in settings_services.FIELDS}


class HoldsForm(PartForm):
    part, permission = "holds", "firewall.change_settings"

    approval_ttl_seconds = forms.IntegerField(label="A hold waits for a decision", help_text="Seconds: 86400 is a day.")
    approval_use_ttl_seconds = forms.IntegerField(label="An approval waits for its use", help_text="Seconds: 900 is a quarter of an hour.")

    @staticmethod
    def initial_of(settings: Settings) -> dict[str, Any]:
        return {"approval_ttl_seconds": settings.approval_ttl_seconds, "approval_use_ttl_seconds": settings.approval_use_ttl_seconds}


class RecordingForm(PartForm):
    part, permission = "recording", "firewall.change_settings"
    saved = "Saved. It is in force from the next call."

    observe_mode = forms.BooleanField(label="Record calls that no policy judges", required=False)
    run_gap_seconds = forms.IntegerField(
        label="A run is over after a pause of", help_text="Seconds, for agents that do not name their runs: 1800 is half an hour."
    )

    @property
    def changes(self) -> dict[str, Any]:
        return dict(self.cleaned_data)

    @staticmethod
    def initial_of(settings: FirewallSettings) -> dict[str, Any]:
        return {"observe_mode": settings.observe_mode, "run_gap_seconds": settings.run_gap_seconds}


class EyesForm(PartForm):
    part = "eyes"

    four_eyes = forms.BooleanField(
        label="Four eyes",
        required=False,
        help_text="Who made the key, last edited the rule or set the webhook's secret may not decide about its calls.",
    )


class PlanForm(PartForm):
    """Who decides about one policy's holds, or about every other policy's."""

    part = "plan"

    policy = forms.ModelChoiceField(label="Policy", queryset=Policy.objects.none(), required=False, empty_label="Every other policy")
    quorum = forms.IntegerField(label="Approvals needed", min_value=1, max_value=settings_services.MAX_QUORUM, initial=1)
    least_role = forms.ChoiceField(label="By", choices=_ROLES)
    reviewers = forms.TypedMultipleChoiceField(
        label="Only these people", coerce=int, required=False, widget=forms.CheckboxSelectMultiple, help_text="Nobody chosen: everyone of that role or above."
    )

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members = workspace.memberships.filter(role__gte=Role.DEVELOPER).select_related("user").order_by("user__email")
        self.fields["policy"].queryset = workspace.policies.order_by("name")  # type: ignore[attr-defined]
        self.fields["reviewers"].choices = [(member.user_id, str(member.user)) for member in members]  # type: ignore[attr-defined]
        self.kept = [plan_of(plan) for plan in workspace.review_plans.order_by("policy_id")]

    @property
    def changes(self) -> dict[str, Any]:
        policy = self.cleaned_data["policy"]
        plan = {name: self.cleaned_data[name] for name in ("quorum", "least_role", "reviewers")} | {"policy_id": policy.pk if policy else None}
        return {"approval_reviews": [each for each in self.kept if each["policy_id"] != plan["policy_id"]] + [plan]}


class WebhookForm(PartForm):
    part = "webhook"

    approval_webhook_url = forms.CharField(
        label="Address", required=False, max_length=512, widget=forms.URLInput(), help_text="Public and https. Empty: nobody is told."
    )
    approval_webhook_secret = forms.CharField(
        label="Secret of your own",
        required=False,
        max_length=255,
        widget=_EMPTY_FOR_STORED,
        help_text="24 to 255 characters. Empty keeps what is stored; stored encrypted and never shown again.",
    )

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for name, value in super().changes.items() if value or name == "approval_webhook_url"}

    @staticmethod
    def initial_of(endpoint: WebhookEndpoint) -> dict[str, Any]:
        return {"approval_webhook_url": endpoint.url}


class NoticesForm(PartForm):
    part = "notices"

    approval_notify_reviewers = forms.BooleanField(label="Write to everyone who may decide", required=False)
    approval_notify_emails = forms.CharField(
        label="Write to these addresses as well",
        required=False,
        max_length=6_000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
        help_text="One a line.",
    )
    approval_slack_url = forms.CharField(
        label="Slack-compatible incoming webhook",
        required=False,
        max_length=512,
        widget=_EMPTY_FOR_STORED,
        help_text="Empty keeps what is stored; stored encrypted and never shown again.",
    )
    forget_slack = forms.BooleanField(label="Tell no chat: forget the stored address", required=False)

    def clean_approval_notify_emails(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["approval_notify_emails"].splitlines() if line.strip()]

    @property
    def changes(self) -> dict[str, Any]:
        found = super().changes
        if self.cleaned_data["forget_slack"]:
            return found | {"approval_slack_url": ""}
        return {name: value for name, value in found.items() if value or name != "approval_slack_url"}

    @staticmethod
    def initial_of(settings: Settings) -> dict[str, Any]:
        return {"approval_notify_reviewers": settings.notify_reviewers, "approval_notify_emails": "\n".join(settings.notify_emails)}


def plan_of(plan: ReviewPlan) -> dict[str, Any]:
    """A review plan as the settings have it."""
    return {"policy_id": plan.policy_id, "quorum": plan.quorum, "least_role": Role(plan.least_role).label.lower(), "reviewers": list(plan.reviewer_ids)}
