"""``/api/token/``: relay keys."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.response import Response

from keys import selectors, services
from keys.api.bodies import BatchBody, KeyBody, as_shown, with_plaintext
from keys.engine.scope import Status
from keys.models import ApiKey
from workspaces import errors, exports
from workspaces.api_base import ApiRequest, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of
from workspaces.authentication import signed_in_lately
from workspaces.models import Workspace
from workspaces.params import number_of, row_id
from workspaces.selectors import hold_row

FILTERS = {"q", "keyword", "status", "environment", "firewall_policy_id", "has_ceiling", "unused_days"}
NO_STORE = {"Cache-Control": "no-store"}
#: As far back as a key may be asked not to have been used.
MOST_UNUSED_DAYS = 365
#: Keys of an export that are read at once.
CHUNK = 200
_NARROWED = [
    OpenApiParameter("q", str, description="Part of the name or the environment, or a mask as shown."),
    OpenApiParameter("keyword", str, description="The same as `q`."),
    OpenApiParameter("status", str, description="1 to 4, several with commas."),
    OpenApiParameter("environment", str, description="Exactly this one; empty: keys without."),
    OpenApiParameter("firewall_policy_id", int, description="Bound to this policy; 0: to none."),
    OpenApiParameter("has_ceiling", bool, description="`false`: neither `credit_limit_usd` nor `cycle_limit_usd` is set."),
    OpenApiParameter(
        "unused_days", {"type": "integer", "minimum": 1, "maximum": MOST_UNUSED_DAYS}, description="At least so many days old, and not used in them."
    ),
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
        "change_named": "keys.change_key",
        "destroy": "keys.change_key",
        "batch": "keys.change_key",
        "reveal": "keys.reveal_key",
        "export": "keys.export_key",
    }
    filters = {"list": FILTERS, "export": FILTERS | {"format"}}

    @extend_schema(responses=page_of(KeyBody), parameters=[*PAGING, *_NARROWED])
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(selectors.find_keys(self.workspace, wanted_of(request.query_params), at=timezone.now()), self._shown)

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=[*exports.KINDS]), *_NARROWED],
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT)},
    )
    def export(self, request: ApiRequest) -> StreamingHttpResponse:
        """Every key that fits, masked, as a file."""
        return export_of(self.workspace, wanted_of(request.query_params), exports.kind_of(request.query_params))

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
        return as_shown(self.workspace, keys, at=timezone.now())


def wanted_of(query: Mapping[str, str]) -> selectors.KeyFilter:
    """The filters of an address. Raises ``ValidationFailed``."""
    policy, days = query.get("firewall_policy_id"), query.get("unused_days")
    if (has_ceiling := query.get("has_ceiling")) not in (None, "true", "false"):
        raise errors.ValidationFailed("true or false.", param="has_ceiling")
    return selectors.KeyFilter(
        q=query.get("q", query.get("keyword", "")).strip(),
        statuses=_statuses(query.get("status", "")),
        environment=query.get("environment"),
        policy_id=None if policy is None else row_id(policy, "firewall_policy_id"),
        has_ceiling=None if has_ceiling is None else has_ceiling == "true",
        unused_days=None if days is None else number_of(days, "unused_days", most=MOST_UNUSED_DAYS),
    )


def export_of(workspace: Workspace, wanted: selectors.KeyFilter, kind: str) -> StreamingHttpResponse:
    """The keys as a download; the caller has checked the role."""
    at = timezone.now()

    def rows() -> Iterator[dict[str, object]]:
        found = selectors.find_keys(workspace, wanted, at=at).order_by("-pk").iterator(CHUNK)
        # What the keys used is summed for a chunk of them, and no more than a chunk is kept.
        while chunk := list(islice(found, CHUNK)):
            yield from as_shown(workspace, chunk, at=at)

    return exports.export(workspace.pk, rows, heads=list(KeyBody().fields), kind=kind, name=f"keys-{at:%Y%m%d}")


def _statuses(text: str) -> list[Status]:
    try:
        return [Status(int(part)) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise errors.ValidationFailed("A status is 1, 2, 3 or 4.", param="status") from error
