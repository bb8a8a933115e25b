"""``/api/token/``: relay keys."""

from collections.abc import Sequence

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.response import Response

from keys import money_selectors, selectors, services
from keys.api.bodies import BatchBody, KeyBody, with_plaintext
from keys.engine.scope import Status
from keys.models import ApiKey
from workspaces import errors
from workspaces.api import PAGING, a_page_of
from workspaces.api_base import ApiRequest, WorkspaceViewSet, row_id
from workspaces.authentication import signed_in_lately
from workspaces.selectors import hold_row

FILTERS = {"q", "keyword", "status", "environment", "firewall_policy_id"}
NO_STORE = {"Cache-Control": "no-store"}
_QUERY = [
    *PAGING,
    OpenApiParameter("q", str, description="Part of the name or the environment, or a mask as shown."),
    OpenApiParameter("keyword", str, description="The same as `q`."),
    OpenApiParameter("status", str, description="1 to 4, several with commas."),
    OpenApiParameter("environment", str, description="Exactly this one; empty: keys without."),
    OpenApiParameter("firewall_policy_id", int, description="Bound to this policy; 0: to none."),
]


class Keys(WorkspaceViewSet):
    """List, make, change, delete, reveal."""

    collection = "api_keys"
    serializer_class = KeyBody
    permissions = {
        "list": "keys.view_key",
        "retrieve": "keys.view_key",
        "create": "keys.change_key",
        "update": "keys.change_key",
        "partial_update": "keys.change_key",
        "change_named": "keys.change_key",
        "destroy": "keys.change_key",
        "batch": "keys.change_key",
        "reveal": "keys.reveal_key",
    }
    filters = {"list": FILTERS}

    @extend_schema(responses=a_page_of(KeyBody), parameters=_QUERY)
    def list(self, request: ApiRequest) -> Response:
        asked = request.query_params
        policy = asked.get("firewall_policy_id")
        found = selectors.find_keys(
            self.workspace,
            at=timezone.now(),
            q=asked.get("q", asked.get("keyword", "")).strip(),
            statuses=_statuses(asked.get("status", "")),
            environment=asked.get("environment"),
            policy_id=None if policy is None else row_id(policy, "firewall_policy_id"),
        )
        return self.keyset(found, self._shown)

    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return Response(self._shown([self.get_object()])[0])

    @extend_schema(responses={201: KeyBody})
    def create(self, request: ApiRequest) -> Response:
        body = self._body(request.data)
        fields = body.as_fields(self.workspace)
        self._may_set(fields, key=None)
        key, plaintext = services.create_key(self.workspace, fields=fields, actor=request.user, at=timezone.now())
        return Response(with_plaintext(self._shown([key])[0], plaintext), status=201, headers=NO_STORE)

    def update(self, request: ApiRequest, pk: str) -> Response:
        return self._change(self.get_object(), request.data)

    def partial_update(self, request: ApiRequest, pk: str) -> Response:
        return self._change(self.get_object(), request.data)

    @extend_schema(description="The documented form: the id is in the body.")
    def change_named(self, request: ApiRequest) -> Response:
        self.kwargs["pk"] = row_id(request.data.get("id", "") if isinstance(request.data, dict) else "")
        return self._change(self.get_object(), request.data)

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        services.delete_keys(self.workspace, keys=[self.get_object()], actor=request.user, at=timezone.now())
        return Response(status=204)

    @extend_schema(request=BatchBody, responses=inline_serializer("Deleted", {"deleted": serializers.IntegerField()}), description="Delete many: all or none.")
    def batch(self, request: ApiRequest) -> Response:
        body = BatchBody(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = set(body.validated_data["ids"])
        found = list(self.get_queryset().filter(pk__in=wanted))
        if len(found) != len(wanted):
            raise errors.NotFound("Not found.", param="ids")
        services.delete_keys(self.workspace, keys=found, actor=request.user, at=timezone.now())
        return Response({"deleted": len(found)})

    @extend_schema(
        request=None,
        responses=inline_serializer("Revealed", {"id": serializers.IntegerField(), "key": serializers.CharField()}),
        description="The plaintext once more: a sign-in of the last 15 minutes or a token with the scope `reveal`, ten an hour a person.",
    )
    def reveal(self, request: ApiRequest, pk: str) -> Response:
        key, at = self.get_object(), timezone.now()
        if key.is_firewall_gateway:
            self.require("keys.reveal_gateway_key")
        if request.auth.is_session and not signed_in_lately(request, at):
            raise errors.PermissionRefused("Sign in again: revealing a key asks for a sign-in of the last 15 minutes.", reauthenticate=True)
        return Response({"id": key.pk, "key": services.reveal_key(key, actor=request.user, at=at)}, headers=NO_STORE)

    def _change(self, key: ApiKey, sent: object) -> Response:
        changes = self._body(sent, key=key).as_fields(self.workspace)
        # What is permitted is judged by the key as it will be changed, not as it was read.
        hold_row(key)
        self._may_set(changes, key=key)
        services.change_key(key, changes=changes, actor=self.request.user, at=timezone.now())
        return Response(self._shown([key])[0])

    def _body(self, sent: object, *, key: ApiKey | None = None) -> KeyBody:
        body = KeyBody(data=sent, partial=key is not None, context={"limit": key.credit_limit_micro_usd if key else 0})
        body.is_valid(raise_exception=True)
        return body

    def _may_set(self, fields: dict[str, object], *, key: ApiKey | None) -> None:
        if services.turns_the_gateway_switch(fields, key):
            self.require("keys.change_gateway_key")

    def _shown(self, keys: Sequence[ApiKey]) -> Sequence[dict]:
        balances = money_selectors.key_balances(self.workspace, [key.pk for key in keys])
        context = {"at": timezone.now(), "uses": selectors.uses_of(self.workspace, keys), "balances": balances}
        return [KeyBody(key, context=context).data for key in keys]


def _statuses(text: str) -> list[Status]:
    try:
        return [Status(int(part)) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise errors.ValidationFailed("A status is 1, 2, 3 or 4.", param="status") from error
