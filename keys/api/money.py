"""``/api/workspace/budgets/`` and ``/api/workspace/prices/``: what may be spent in a month, and what a model costs here."""

from collections.abc import Sequence

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from keys import budget_selectors, money_selectors, money_services
from keys.api.amounts import Dollars, shown
from keys.models import Budget, PriceOverride
from workspaces import errors
from workspaces.api_base import ApiRequest, Body, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of
from workspaces.params import MAX_ID


# --- Budgets --------------------------------------------------------------------------------------------------------
class BudgetBody(Body):
    """What the workspace, or the keys that a member made, may spend in a calendar month of UTC. What is only read may be sent back."""

    id = serializers.IntegerField(read_only=True)
    member_id = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=MAX_ID, help_text="A person's id; null: the whole workspace.")
    member = serializers.EmailField(read_only=True, allow_null=True)
    limit_usd = Dollars(help_text="0 lets nothing through.")
    spent_micro_usd = serializers.IntegerField(read_only=True, help_text="This month.")
    reserved_micro_usd = serializers.IntegerField(read_only=True, help_text="What calls in flight hold.")
    resets_at = serializers.DateTimeField(read_only=True)
    reached_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When it is reached at this month's pace; null: not this month, or nobody can tell."
    )
    notified_percent = serializers.IntegerField(read_only=True, allow_null=True, help_text="The highest of 50, 80, 100 that Admins were told of this month.")


class Budgets(WorkspaceViewSet):
    """Set, list, change, remove."""

    collection = "budgets"
    serializer_class = BudgetBody
    permissions = {
        "list": "keys.view_budget",
        "retrieve": "keys.view_budget",
        "create": "keys.change_budget",
        "update": "keys.change_budget",
        "destroy": "keys.change_budget",
    }

    @extend_schema(responses=page_of(BudgetBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset().select_related("member"), self._shown)

    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(self._shown([self.get_object()])[0])

    @extend_schema(responses={201: BudgetBody})
    def create(self, request: ApiRequest) -> Response:
        """Set the budget of the workspace or of a member, whether or not there is one."""
        sent = self._sent(request)
        member_id = sent.get("member_id")
        member = None
        if member_id is not None:
            membership = self.workspace.memberships.select_related("user").filter(user_id=member_id).first()
            if membership is None:
                raise errors.NotFound("Not found.", param="member_id")
            member = membership.user
        made = money_services.set_budget(self.workspace, member=member, limit_micro_usd=sent["limit_usd"], actor=request.user, at=timezone.now())
        return Response(self._shown([made])[0], status=201)

    def update(self, request: ApiRequest, pk: str) -> Response:
        budget = self.get_object()
        sent = self._sent(request, partial=True)
        if sent.get("member_id", budget.member_id) != budget.member_id:
            raise errors.ValidationFailed("A budget stays whose it is: make another one.", param="member_id")
        limit = sent.get("limit_usd", budget.limit_micro_usd)
        changed = money_services.set_budget(self.workspace, member=budget.member, limit_micro_usd=limit, actor=request.user, at=timezone.now())
        return Response(self._shown([changed])[0])

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        money_services.remove_budget(self.get_object(), actor=request.user, at=timezone.now())
        return Response(status=204)

    def _sent(self, request: ApiRequest, *, partial: bool = False) -> dict:
        body = BudgetBody(data=request.data, partial=partial)
        body.is_valid(raise_exception=True)
        return body.validated_data

    def _shown(self, budgets: Sequence[Budget]) -> Sequence[dict]:
        return [
            {
                "id": state.budget.pk,
                "member_id": state.budget.member_id,
                "member": state.budget.member and state.budget.member.email,
                "limit_usd": shown(state.budget.limit_micro_usd),
                "spent_micro_usd": state.balance.spent_micro_usd,
                "reserved_micro_usd": state.balance.held_micro_usd,
                "resets_at": state.resets_at,
                "reached_at": state.reached_at,
                "notified_percent": state.notified_percent,
            }
            for state in budget_selectors.states_of(self.workspace, budgets, at=timezone.now())
        ]


# --- Prices ---------------------------------------------------------------------------------------------------------
_SIDES = ("input", "output", "cached_input", "cache_write", "reasoning", "input_audio", "output_audio")
#: The name of each price outside, and its column.
PRICES = {f"{side}_per_million_usd": f"{side}_per_million_micro_usd" for side in _SIDES} | {"per_request_usd": "per_request_micro_usd"}
_OF_TIER = {name: PRICES[name] for name in ("input_per_million_usd", "output_per_million_usd", "cached_input_per_million_usd")}


class TierBody(Body):
    above_input_tokens = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    input_per_million_usd = Dollars(required=False, allow_null=True)
    output_per_million_usd = Dollars(required=False, allow_null=True)
    cached_input_per_million_usd = Dollars(required=False, allow_null=True)


@extend_schema_field({"type": "object", "additionalProperties": {"type": "number", "minimum": 0}})
class ToolPrices(serializers.DictField):
    child = Dollars()


class PriceOverrideBody(Body):
    """A workspace's own price of a model, whichever provider answers. Null: as the provider's model or the list says."""

    id = serializers.IntegerField(read_only=True)
    model = serializers.CharField(max_length=128, help_text="The name that agents ask for.")
    input_per_million_usd = Dollars(required=False, allow_null=True)
    output_per_million_usd = Dollars(required=False, allow_null=True)
    cached_input_per_million_usd = Dollars(required=False, allow_null=True)
    cache_write_per_million_usd = Dollars(required=False, allow_null=True)
    reasoning_per_million_usd = Dollars(required=False, allow_null=True)
    input_audio_per_million_usd = Dollars(required=False, allow_null=True)
    output_audio_per_million_usd = Dollars(required=False, allow_null=True)
    per_request_usd = Dollars(required=False)
    tools = ToolPrices(required=False, help_text="What one use of a hosted tool costs, by its name.")
    tiers = TierBody(many=True, required=False, help_text="A call with more input than that pays the tier's price for all of its tokens.")
    default_output_tokens = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=10_000_000, help_text="How long an answer may be when a call sets no limit; 4,096 unless given."
    )
    updated_at = serializers.DateTimeField(read_only=True)

    def as_fields(self) -> dict[str, object]:
        """What was sent, as ``money_services.set_price`` takes it."""
        sent = self.validated_data
        fields: dict[str, object] = {column: sent[name] for name, column in PRICES.items() if name in sent}
        if "tiers" in sent:
            fields["tiers"] = [_columns(tier) for tier in sent["tiers"]]
        return fields | {name: sent[name] for name in ("tools", "default_output_tokens") if name in sent}

    def to_representation(self, price: PriceOverride) -> dict[str, object]:
        amounts = {name: _shown(getattr(price, column)) for name, column in PRICES.items()}
        tiers = [
            {"above_input_tokens": tier["above_input_tokens"]} | {name: _shown(tier.get(column)) for name, column in _OF_TIER.items()} for tier in price.tiers
        ]
        rest = {"tools": {name: shown(each) for name, each in price.tools.items()}, "tiers": tiers, "default_output_tokens": price.default_output_tokens}
        return {"id": price.pk, "model": price.model, **amounts, **rest, "updated_at": price.updated_at}


class ToolPricesBody(Body):
    """What one use of each tool costs that agents dispatch themselves, where its caller asks ``evaluate`` beforehand."""

    prices = ToolPrices(help_text="US dollars a use, by tool glob; the longest that a tool meets holds. These are all: a tool that is not named costs nothing.")


class PricesOfTools(WorkspaceViewSet):
    """Read them, set them."""

    permissions = {"retrieve": "keys.view_price", "update": "keys.change_price"}
    serializer_class = ToolPricesBody

    @extend_schema(responses=ToolPricesBody)
    def retrieve(self, request: ApiRequest) -> Response:
        return Response(self._shown())

    @extend_schema(responses=ToolPricesBody)
    def update(self, request: ApiRequest) -> Response:
        body = ToolPricesBody(data=request.data)
        body.is_valid(raise_exception=True)
        money_services.set_tool_prices(self.workspace, prices=body.validated_data["prices"], actor=request.user, at=timezone.now())
        return Response(self._shown())

    def _shown(self) -> dict:
        return {"prices": {glob: shown(price) for glob, price in money_selectors.tool_prices(self.workspace).items()}}


class Prices(WorkspaceViewSet):
    """Set, list, change, remove."""

    collection = "price_overrides"
    serializer_class = PriceOverrideBody
    permissions = {
        "list": "keys.view_price",
        "retrieve": "keys.view_price",
        "create": "keys.change_price",
        "update": "keys.change_price",
        "destroy": "keys.change_price",
    }

    @extend_schema(responses=page_of(PriceOverrideBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset(), lambda prices: [PriceOverrideBody(price).data for price in prices])

    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(PriceOverrideBody(self.get_object()).data)

    @extend_schema(responses={201: PriceOverrideBody})
    def create(self, request: ApiRequest) -> Response:
        body = self._body(request)
        model = body.validated_data["model"]
        if self.get_queryset().filter(model=model).exists():
            raise errors.Conflict("This model has a price of its own already: change that one.", param="model")
        made = money_services.set_price(self.workspace, model=model, fields=body.as_fields(), actor=request.user, at=timezone.now())
        return Response(PriceOverrideBody(made).data, status=201)

    def update(self, request: ApiRequest, pk: str) -> Response:
        price = self.get_object()
        body = self._body(request, partial=True)
        if body.validated_data.get("model", price.model) != price.model:
            raise errors.ValidationFailed("A price stays its model's: make another one.", param="model")
        changed = money_services.set_price(self.workspace, model=price.model, fields=body.as_fields(), actor=request.user, at=timezone.now())
        return Response(PriceOverrideBody(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        money_services.remove_price(self.get_object(), actor=request.user, at=timezone.now())
        return Response(status=204)

    def _body(self, request: ApiRequest, *, partial: bool = False) -> PriceOverrideBody:
        body = PriceOverrideBody(data=request.data, partial=partial)
        body.is_valid(raise_exception=True)
        return body


def _columns(tier: dict) -> dict[str, int]:
    """A tier as it is stored: prices that are not given are left out."""
    prices = {column: tier[name] for name, column in _OF_TIER.items() if tier.get(name) is not None}
    return {"above_input_tokens": tier["above_input_tokens"], **prices}


def _shown(micro_usd: int | None) -> int | float | None:
    return None if micro_usd is None else shown(micro_usd)
