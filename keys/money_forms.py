"""The console's forms over budgets and prices. They read what was typed; what is allowed, the services say."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms

from keys.engine.words import usd
from keys.models import PriceOverride
from workspaces import money
from workspaces.models import User, Workspace

SIDES = ("input", "output", "cached_input", "cache_write", "reasoning", "input_audio", "output_audio")


def dollars(label: str, help_text: str = "", *, required: bool = False) -> forms.DecimalField:
    """An amount in US dollars; empty is none."""
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        required=required,
        min_value=0,
        max_value=money.MAX_USD,
        decimal_places=6,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


def lines(label: str, help_text: str, *, rows: int = 2, max_length: int = 20_000) -> forms.CharField:
    """Names and prices, a line each."""
    widget = forms.Textarea(attrs={"rows": rows, "spellcheck": "false"})
    return forms.CharField(label=label, help_text=help_text, required=False, max_length=max_length, widget=widget)


def written(micro_usd: int | None) -> str:
    """An amount as a person types it: empty for none."""
    return "" if micro_usd is None else f"{money.to_usd(micro_usd).normalize():f}"


class BudgetForm(forms.Form):
    """Whose budget, and how much. ``member`` None is the whole workspace."""

    limit = dollars("US dollars a month", "Calendar months of UTC. 0 lets nothing through.", required=True)

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._people: dict[str, User] = {
            str(membership.user_id): membership.user for membership in workspace.memberships.select_related("user").order_by("user__email")[:1000]
        }
        choices = [("", "The whole workspace"), *((key, person.email) for key, person in self._people.items())]
        self.fields["whose"] = forms.ChoiceField(
            label="Whose", required=False, choices=choices, help_text="A person's budget counts what the keys that they made spend."
        )
        self.order_fields(["whose", "limit"])

    @property
    def member(self) -> User | None:
        return self._people.get(self.cleaned_data["whose"])

    @property
    def limit_micro_usd(self) -> int:
        return money.from_usd(self.cleaned_data["limit"])


class PriceForm(forms.Form):
    """A model's own price. ``stored`` is what the services take, once the form is valid."""

    model = forms.CharField(label="Model", max_length=128, help_text="The name that agents ask for.")
    input = dollars("Input")
    output = dollars("Output")
    cached_input = dollars("Cached input")
    cache_write = dollars("Cache writes")
    reasoning = dollars("Reasoning")
    input_audio = dollars("Audio in")
    output_audio = dollars("Audio out")
    per_request = dollars("Each request, US dollars")
    default_output_tokens = forms.IntegerField(
        label="Default answer, tokens", required=False, min_value=1, max_value=10_000_000, help_text="Reserved when a call sets no limit. Empty: 4,096."
    )
    tools = lines("Hosted tools", "One a line: web_search = 0.01, in US dollars a use.")
    tiers = lines("Tiers", "One a line, for calls with more input tokens: 200000 = 6 / 22.50 / 0.60 is input, output and cached input.")

    def __init__(self, *args: Any, model: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if model:
            del self.fields["model"]

    def clean_tools(self) -> dict[str, int]:
        return _priced(self.cleaned_data["tools"])

    def clean_tiers(self) -> list[dict[str, int]]:
        found = []
        for number, name, rest in _pairs(self.cleaned_data["tiers"]):
            prices = rest.split("/")
            if not (name.isascii() and name.isdigit() and 0 < int(name) < 10**12) or len(prices) > 3:
                raise forms.ValidationError(f"Line {number}: tokens = input / output / cached input.")
            columns = ("input_per_million_micro_usd", "output_per_million_micro_usd", "cached_input_per_million_micro_usd")
            given = {column: _amount(price, number) for column, price in zip(columns, prices, strict=False) if price.strip()}
            found.append({"above_input_tokens": int(name), **given})
        return found

    @property
    def stored(self) -> dict[str, Any]:
        typed = self.cleaned_data
        fields: dict[str, Any] = {f"{side}_per_million_micro_usd": None if typed[side] is None else money.from_usd(typed[side]) for side in SIDES}
        rest = {name: typed[name] for name in ("tools", "tiers", "default_output_tokens")}
        return fields | rest | {"per_request_micro_usd": money.from_usd(typed["per_request"] or 0)}

    def lowered(self, before: PriceOverride) -> list[str]:
        """What would cost less than until now, a sentence each."""
        found = []
        for name in (*SIDES, "per_request"):
            column = "per_request_micro_usd" if name == "per_request" else f"{name}_per_million_micro_usd"
            had, has = getattr(before, column), self.stored[column]
            if had is not None and has is not None and has < had:
                found.append(f"{self.fields[name].label}: {usd(has)}, {usd(had)} until now.")
        return found

    @staticmethod
    def initial_of(price: PriceOverride) -> dict[str, object]:
        """What the form shows of a price that exists."""
        shown: dict[str, object] = {side: written(getattr(price, f"{side}_per_million_micro_usd")) for side in SIDES}
        tiers = [f"{tier['above_input_tokens']} = {_tier(tier)}" for tier in price.tiers]
        return shown | {
            "model": price.model,
            "per_request": written(price.per_request_micro_usd or None),
            "default_output_tokens": price.default_output_tokens,
            "tools": lines_of(price.tools),
            "tiers": "\n".join(tiers),
        }


class ToolPricesForm(forms.Form):
    """What one use of each tool costs, a line each."""

    prices = lines(
        "Tools", "One a line: maps.* = 0.01, in US dollars a use. Globs as in rules; the longest that a tool meets holds.", rows=8, max_length=100_000
    )

    def clean_prices(self) -> dict[str, int]:
        return _priced(self.cleaned_data["prices"])


def lines_of(prices: Mapping[str, int]) -> str:
    """Prices of tools as a person types them."""
    return "\n".join(f"{name} = {written(each)}" for name, each in prices.items())


def _priced(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, name, rest in _pairs(text):
        if name in found:
            raise forms.ValidationError(f"Line {number}: {name[:40]} has a price above.")
        found[name] = _amount(rest, number)
    return found


def _tier(tier: dict[str, int]) -> str:
    return " / ".join(written(tier.get(f"{side}_per_million_micro_usd")) for side in ("input", "output", "cached_input")).rstrip(" /")


def _pairs(text: str) -> list[tuple[int, str, str]]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            name, sign, rest = line.partition("=")
            if not sign or not name.strip() or not rest.strip():
                raise forms.ValidationError(f"Line {number}: a name, =, and a price.")
            found.append((number, name.strip(), rest.strip()))
    return found


def _amount(text: str, number: int) -> int:
    try:
        amount = Decimal(text.strip())
    except InvalidOperation as error:
        raise forms.ValidationError(f"Line {number}: {text.strip()[:40]!r} is not an amount.") from error
    if not amount.is_finite() or not 0 <= amount <= money.MAX_USD:
        raise forms.ValidationError(f"Line {number}: an amount from 0 to {money.MAX_USD:,}.")
    return money.from_usd(amount)
