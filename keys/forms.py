"""The console's forms over keys and providers. They read what was typed; what is allowed, the services say."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from django import forms
from django.db.models import QuerySet

from firewall.models import Policy
from keys import provider_services
from keys.engine import limits, model_lines
from keys.models import ApiKey, ProviderCredential
from keys.money_forms import dollars, written
from keys.provider_services import ModelSpec
from workspaces import money

#: Choice, words, days from now.
SPANS = [
    ("1h", "In an hour", 1 / 24),
    ("1d", "In a day", 1),
    ("7d", "In 7 days", 7),
    ("30d", "In 30 days", 30),
    ("90d", "In 90 days", 90),
    ("1y", "In a year", 365),
]
DAYS = {choice: days for choice, _, days in SPANS}
_EXPIRY = [("never", "Never"), *((choice, words) for choice, words, _ in SPANS), ("at", "On a date")]
_MINUTES = "%Y-%m-%dT%H:%M"
_MODELS_HINT = (
    "One a line: name, or name = what the provider calls it. A price in US dollars a million tokens, input and output, goes behind @: gpt-4o @ 2.50 / 10"
)


def _lines(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "spellcheck": "false", "autocomplete": "off"})


class KeyForm(forms.Form):
    """A key's name and limits. ``stored`` is what the services take, once the form is valid."""

    name = forms.CharField(label="Name", max_length=80, help_text="One key an agent: its events and its spend stand under this name.")
    environment = forms.CharField(label="Environment", max_length=200, required=False, help_text="A tag such as prod or staging, at most 32 characters.")
    policy = forms.ModelChoiceField(label="Policy", queryset=Policy.objects.none(), required=False, empty_label="The workspace's default")
    models_listed = forms.ChoiceField(label="Models", choices=[("any", "Any model"), ("listed", "Only those listed")])
    models = forms.CharField(
        label="Listed models",
        required=False,
        max_length=30_000,
        widget=_lines(3),
        help_text="One a line. gpt-4.* stands for every name that begins with gpt-4.",
    )
    addresses = forms.CharField(
        label="Addresses",
        required=False,
        max_length=20_000,
        widget=_lines(2),
        help_text="IP addresses or ranges such as 10.0.0.0/8, one a line. Empty: any address.",
    )
    expires = forms.ChoiceField(label="Expires", choices=_EXPIRY, initial="90d")
    expires_on = forms.DateTimeField(
        label="Date (UTC)", required=False, input_formats=[_MINUTES], widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_MINUTES)
    )
    credit_limit = dollars("In all, US dollars", "Over its whole life. Empty: no such limit.")
    cycle_limit = dollars("Each cycle, US dollars", "Starts anew with each cycle, at 00:00 UTC. Empty: no such limit.")
    cycle = forms.ChoiceField(label="Cycle", choices=[("day", "A day"), ("week", "A week, from Monday"), ("month", "A month")], initial="month")
    run_scope = forms.ChoiceField(
        label="Runs",
        choices=[(ApiKey.RunScope.AUTO, "As the agent names them, or recognised"), (ApiKey.RunScope.KEY, "The key is one run an hour")],
        help_text="What counts as one run of the agent.",
    )
    is_firewall_gateway = forms.BooleanField(
        label="May use the firewall's own routes", required=False, help_text="Evaluate, approvals and MCP under /api/v1/firewall. Needs the role Admin."
    )

    def __init__(self, *args: Any, policies: QuerySet[Policy], at: datetime, may_make_gateway: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.at = at
        cast("forms.ModelChoiceField[Policy]", self.fields["policy"]).queryset = policies
        if not may_make_gateway:
            del self.fields["is_firewall_gateway"]

    def clean_models(self) -> list[str]:
        return _cleaned(limits.models, self.cleaned_data["models"])

    def clean_addresses(self) -> list[str]:
        return _cleaned(limits.networks, self.cleaned_data["addresses"])

    def clean(self) -> dict:
        typed = super().clean() or self.cleaned_data
        if typed.get("expires") == "at" and not typed.get("expires_on") and "expires_on" not in self.errors:
            self.add_error("expires_on", "Give the date.")
        elif typed.get("expires") == "at" and typed.get("expires_on") and typed["expires_on"].timestamp() < 0:
            # Unix seconds below 0 mean "never" to those who read the key by the API.
            self.add_error("expires_on", "No date is before 1970.")
        if typed.get("models_listed") == "listed" and typed.get("models") == []:
            self.add_error("models", "List at least one model, or allow any.")
        return typed

    @property
    def stored(self) -> dict[str, Any]:
        typed = self.cleaned_data
        fields: dict[str, Any] = {
            "name": typed["name"],
            "environment": limits.environment(typed["environment"]),
            "firewall_policy": typed["policy"],
            "model_limits_enabled": typed["models_listed"] == "listed",
            "model_limits": typed["models"],
            "allow_ips": typed["addresses"],
            "expires_at": self._expires_at(),
            "credit_limit_micro_usd": money.from_usd(typed["credit_limit"] or 0),
            "cycle_limit_micro_usd": money.from_usd(typed["cycle_limit"] or 0),
            "cycle": typed["cycle"],
            "run_scope": typed["run_scope"],
        }
        return fields | ({"is_firewall_gateway": typed["is_firewall_gateway"]} if "is_firewall_gateway" in self.fields else {})

    def _expires_at(self) -> datetime | None:
        choice = self.cleaned_data["expires"]
        if choice == "at":
            chosen = self.cleaned_data["expires_on"].astimezone(UTC)
            kept = self.initial.get("expires_at")
            # The field shows minutes: a date that was not touched keeps its seconds.
            return kept if kept and kept.replace(second=0, microsecond=0) == chosen else chosen
        return None if choice == "never" else self.at + timedelta(days=DAYS[choice])

    @staticmethod
    def initial_of(key: ApiKey) -> dict[str, object]:
        """What the form shows of a key that exists."""
        return {
            "name": key.name,
            "environment": key.environment,
            "policy": key.firewall_policy_id,
            "models_listed": "listed" if key.model_limits_enabled else "any",
            "models": "\n".join(key.model_limits),
            "addresses": "\n".join(key.allow_ips),
            "expires": "at" if key.expires_at else "never",
            "expires_on": key.expires_at,
            "expires_at": key.expires_at,
            "credit_limit": written(key.credit_limit_micro_usd or None),
            "cycle_limit": written(key.cycle_limit_micro_usd or None),
            "cycle": key.cycle,
            "run_scope": key.run_scope,
            "is_firewall_gateway": key.is_firewall_gateway,
        }

    @staticmethod
    def initial_of_successor(key: ApiKey, *, at: datetime) -> dict[str, object]:
        """The same scope under another name. What takes the place of a key that has expired does not begin expired."""
        initial = KeyForm.initial_of(key) | {"name": f"{key.name[:78]}-2"}
        return initial | ({"expires": "90d", "expires_on": None} if key.expires_at and key.expires_at <= at else {})


class ProviderForm(forms.Form):
    """A provider. An empty secret keeps the stored one; ``stored`` is what the services take."""

    name = forms.CharField(label="Name", max_length=64)
    base_url = forms.CharField(
        label="Base address", max_length=512, help_text="As the provider gives it, mostly ending in /v1. Public and https.", widget=forms.URLInput()
    )
    secret = forms.CharField(
        label="Secret",
        required=False,
        max_length=provider_services.MAX_SECRET_CHARS,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Sent as a bearer token. Stored encrypted and never shown again.",
    )
    forget_secret = forms.BooleanField(label="Send no secret: forget the stored one", required=False)
    models = forms.CharField(
        label="Models",
        required=False,
        max_length=200_000,
        widget=_lines(6),
        help_text=_MODELS_HINT,
    )
    order = forms.IntegerField(label="Order", min_value=0, max_value=1_000_000, initial=100, help_text="Of several, the lowest number is asked first.")
    enabled = forms.BooleanField(label="Enabled", required=False, initial=True)

    def clean_models(self) -> list[ModelSpec]:
        lines = _cleaned(model_lines.parse, self.cleaned_data["models"])
        return [ModelSpec(line.name, line.upstream, _micro(line.input_usd), _micro(line.output_usd)) for line in lines]

    @property
    def stored(self) -> dict[str, Any]:
        typed = {name: self.cleaned_data[name] for name in ("name", "base_url", "models", "order", "enabled")}
        if self.cleaned_data["secret"]:
            return typed | {"secret": self.cleaned_data["secret"]}
        return typed | ({"secret": ""} if self.cleaned_data["forget_secret"] else {})

    @staticmethod
    def initial_of(provider: ProviderCredential) -> dict[str, object]:
        lines = [
            model_lines.ModelLine(model.name, model.upstream, _usd(model.input_per_million_micro_usd), _usd(model.output_per_million_micro_usd))
            for model in provider.models.all()
        ]
        return {"name": provider.name, "base_url": provider.base_url, "models": model_lines.write(lines), "order": provider.order, "enabled": provider.enabled}


def _cleaned(read, text: str) -> list:
    try:
        return read(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error


def _micro(usd) -> int | None:
    return None if usd is None else money.from_usd(usd)


def _usd(micro_usd: int | None):
    return None if micro_usd is None else money.to_usd(micro_usd)
