"""``/api/workspace/providers/``: where calls go. The secret comes in and never goes out."""

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from keys import probe, provider_services
from keys.models import ProviderCredential, ProviderModel
from keys.provider_services import ModelSpec
from workspaces import errors, money
from workspaces.api_base import ApiRequest, Body, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of


# --- Bodies ---------------------------------------------------------------------------------------------------------
class PriceBody(Body):
    input_per_million_usd = serializers.DecimalField(max_digits=15, decimal_places=6, min_value=0, required=False, allow_null=True, coerce_to_string=False)
    output_per_million_usd = serializers.DecimalField(max_digits=15, decimal_places=6, min_value=0, required=False, allow_null=True, coerce_to_string=False)


class ModelBody(Body):
    name = serializers.CharField(max_length=128)
    upstream = serializers.CharField(max_length=128, required=False, allow_blank=True, help_text="What the provider calls it; empty: the same.")
    price = PriceBody(required=False, allow_null=True, help_text="Where it is not the list price.")


_PRICE_SCHEMA = {"type": ["object", "null"], "properties": {side: {"type": ["number", "null"]} for side in ("input_per_million_usd", "output_per_million_usd")}}
_MODEL_SCHEMA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "upstream": {"type": "string"}, "price": _PRICE_SCHEMA},
}


@extend_schema_field({"oneOf": [{"type": "string"}, _MODEL_SCHEMA]})
class ModelField(serializers.Field):
    """A model by its bare name, or as an object; always shown as an object."""

    def to_internal_value(self, data: object) -> ModelSpec:
        body = ModelBody(data={"name": data} if isinstance(data, str) else data)
        body.is_valid(raise_exception=True)
        sent = body.validated_data
        if not sent["name"].isprintable():
            raise serializers.ValidationError({"name": ["Printable characters only."]})
        price = sent.get("price") or {}
        return ModelSpec(
            name=sent["name"],
            upstream=sent.get("upstream", ""),
            input_per_million_micro_usd=_micro(price.get("input_per_million_usd")),
            output_per_million_micro_usd=_micro(price.get("output_per_million_usd")),
        )

    def to_representation(self, model: ProviderModel) -> dict:
        prices = (model.input_per_million_micro_usd, model.output_per_million_micro_usd)
        price = {"input_per_million_usd": _usd(prices[0]), "output_per_million_usd": _usd(prices[1])} if any(each is not None for each in prices) else None
        return {"name": model.name, "upstream": model.upstream or model.name, "price": price}


class ProviderBody(Body):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=64)
    kind = serializers.ChoiceField(choices=ProviderCredential.Kind.choices, required=False)
    base_url = serializers.CharField(max_length=512, help_text="Used as it is, with /chat/completions behind it.")
    secret = serializers.CharField(
        write_only=True, required=False, allow_blank=True, allow_null=True, max_length=provider_services.MAX_SECRET_CHARS, help_text="Empty: none is sent."
    )
    has_secret = serializers.BooleanField(read_only=True)
    models = serializers.ListField(child=ModelField(), max_length=provider_services.MAX_MODELS, source="model_rows")
    enabled = serializers.BooleanField(required=False)
    order = serializers.IntegerField(min_value=0, max_value=1_000_000, required=False, help_text="Lower is asked first.")
    is_demo = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def as_fields(self) -> dict[str, Any]:
        """What was sent, as ``provider_services`` takes it."""
        fields = dict(self.validated_data)
        if "model_rows" in fields:
            fields["models"] = fields.pop("model_rows")
        return fields

    def to_representation(self, provider: ProviderCredential) -> dict:
        return {
            "id": provider.pk,
            "name": provider.name,
            "kind": provider.kind,
            "base_url": provider.base_url,
            "has_secret": provider.secret_sealed is not None,
            "models": [ModelField().to_representation(model) for model in provider.models.all()],
            "enabled": provider.enabled,
            "order": provider.order,
            "is_demo": provider.is_demo,
            "created_at": serializers.DateTimeField().to_representation(provider.created_at),
            "updated_at": serializers.DateTimeField().to_representation(provider.updated_at),
        }


class TestOutcome(serializers.Serializer):
    ok = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True, help_text="What the provider answered; null: it did not.")
    latency_ms = serializers.IntegerField()
    models = serializers.ListField(child=serializers.CharField(), help_text="What the provider offers, at most 200.")
    error = serializers.CharField(allow_null=True)


# --- Views ----------------------------------------------------------------------------------------------------------
class Providers(WorkspaceViewSet):
    collection = "providers"
    serializer_class = ProviderBody
    permissions = {
        "list": "keys.view_provider",
        "retrieve": "keys.view_provider",
        "create": "keys.change_provider",
        "update": "keys.change_provider",
        "destroy": "keys.change_provider",
    }

    @extend_schema(responses=page_of(ProviderBody), parameters=PAGING)
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset().prefetch_related("models"), _shown)

    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(_shown([self.get_object()])[0])

    @extend_schema(responses={201: ProviderBody})
    def create(self, request: ApiRequest) -> Response:
        fields = _body(request.data).as_fields()
        fields["secret"] = fields.get("secret") or ""
        provider = provider_services.create_provider(self.workspace, **fields, actor=request.user, at=timezone.now())
        return Response(_shown([provider])[0], status=201)

    def update(self, request: ApiRequest, pk: str) -> Response:
        provider = self.get_object()
        changes = _body(request.data, partial=True).as_fields()
        provider_services.change_provider(provider, changes=changes, actor=request.user, at=timezone.now())
        return Response(_shown([self.get_object()])[0])

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        provider_services.delete_provider(self.get_object(), actor=request.user, at=timezone.now())
        return Response(status=204)


class ProviderTest(WorkspaceViewSet):
    """``POST /api/workspace/providers/{id}/test``"""

    collection = "providers"
    serializer_class = TestOutcome
    permissions = {"create": "keys.change_provider"}
    # The answer comes after the transaction in which it would be kept.
    keeps_answers = False

    def dispatch(self, request, *args, **kwargs):
        """Ask the provider after the transaction has ended: nothing remote happens inside one."""
        self.asked: probe.Question | None = None
        response = super().dispatch(request, *args, **kwargs)
        if self.asked:
            response.data = asdict(probe.ask(self.asked))
        return response

    @extend_schema(request=None, responses=TestOutcome, description="Asks the provider for its models, once, with the stored secret.")
    def create(self, request: ApiRequest, pk: str) -> Response:
        provider_services.count_test(self.workspace)
        self.asked = probe.question(self.get_object())
        return Response({})


def _body(sent: object, *, partial: bool = False) -> ProviderBody:
    body = ProviderBody(data=sent, partial=partial)
    body.is_valid(raise_exception=True)
    return body


def _shown(providers: Sequence[ProviderCredential]) -> Sequence[dict]:
    return [ProviderBody(provider).data for provider in providers]


def _micro(usd: Decimal | None) -> int | None:
    if usd is None:
        return None
    if usd > money.MAX_USD:
        raise errors.ValidationFailed("This price is not plausible.", param="models")
    return money.from_usd(usd)


def _usd(micro_usd: int | None) -> Decimal | None:
    return None if micro_usd is None else money.to_usd(micro_usd)
