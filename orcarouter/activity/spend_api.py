"""``/api/workspace/usage/``: what was spent, summed up, and exports of it."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from orcarouter.activity.selectors import spend
from workspaces import exports
from workspaces.api_base import ApiRequest, WorkspaceViewSet, page_size
from workspaces.errors import ValidationFailed
from workspaces.models import Workspace
from workspaces.paging import read_onward, write_cursor
from workspaces.params import row_id

#: Days of usage that are told unless asked otherwise.
DAYS = 30
#: What an export may hold beside the sums: every call.
CALLS = "call"


class SumsOut(serializers.Serializer):
    calls = serializers.IntegerField()
    cost_micro_usd = serializers.IntegerField(allow_null=True, help_text="Null: nothing of it has a known price.")
    unpriced_calls = serializers.IntegerField(help_text="Calls whose price is unknown: not in the cost.")
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()


class SpendOut(SumsOut):
    """One group. Which of the first fields are there, ``by`` says."""

    day = serializers.DateField(required=False)
    model = serializers.CharField(required=False)
    environment = serializers.CharField(required=False)
    key_id = serializers.IntegerField(required=False)
    token_name = serializers.CharField(required=False)
    run_id = serializers.CharField(required=False, allow_null=True)
    member = serializers.CharField(required=False)


class SpendPage(serializers.Serializer):
    results = SpendOut(many=True)
    total = SumsOut()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


_NARROWED = [
    OpenApiParameter("from", str, description="A day, or a moment in RFC 3339; 30 days ago unless given."),
    OpenApiParameter("to", str, description="The first moment, or day, that is not told of any more; tomorrow unless given."),
    OpenApiParameter("environment", str, description="Exactly this one; empty: calls without."),
    OpenApiParameter("key_id", int),
    OpenApiParameter("model", str),
]
_FILTERS = {"by", "from", "to", "environment", "key_id", "model"}


class UsageViewSet(WorkspaceViewSet):
    """``/api/workspace/usage/`` and ``.../export``"""

    permissions = {"totals": "activity.view_totals", "export": "activity.export_usage"}
    filters = {"totals": _FILTERS | {"limit", "cursor"}, "export": _FILTERS | {"format"}}

    @extend_schema(
        parameters=[OpenApiParameter("by", str, enum=list(spend.GROUPS)), *_NARROWED, OpenApiParameter("limit", int), OpenApiParameter("cursor", str)],
        responses=SpendPage,
    )
    def totals(self, request: ApiRequest) -> Response:
        """Spend, calls and tokens by day, model or environment; by key, run or member from the role Developer on. The dearest first, days in order."""
        by = by_of(request.query_params.get("by", "day"), spend.GROUPS)
        wanted = wanted_of(request.query_params, timezone.now())
        if by in spend.BY_KEY or wanted.key_id is not None:
            self.require("activity.view_key_usage")
        after = read_after(request.query_params.get("cursor"))
        groups, later = spend.page(self.workspace, wanted, by, limit=page_size(request), after=after)
        total = spend.total(self.workspace, wanted) if after or later else spend.total_of(groups)
        results = [spend.as_row(by, group) for group in groups]
        return Response({"results": results, "total": SumsOut(total).data, "next": self.link(write_after(later)), "previous": None})

    @extend_schema(
        parameters=[OpenApiParameter("by", str, enum=[*spend.GROUPS, CALLS]), OpenApiParameter("format", str, enum=list(exports.KINDS)), *_NARROWED],
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT)},
    )
    def export(self, request: ApiRequest) -> StreamingHttpResponse:
        """Everything, as a file: the sums by one of the groups, or every call (`by=call`)."""
        return export_of(self.workspace, request.query_params, timezone.now())


def by_of(given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise ValidationFailed(f"One of {', '.join(known)}.", param="by")
    return given


def wanted_of(query: Mapping[str, str], at: datetime) -> spend.Wanted:
    """The stretch and filters of an address. Raises ``ValidationFailed``."""
    default = spend.Wanted.last(DAYS, at)
    since, until = _moment(query, "from", default.since), _moment(query, "to", default.until)
    if until <= since or until - since > spend.LONGEST:
        raise ValidationFailed(f"From `from` to `to` are more than none and at most {spend.LONGEST.days} days.", param="to")
    key_id = query.get("key_id")
    return spend.Wanted(
        since,
        until,
        environment=query.get("environment"),
        key_id=None if key_id is None else row_id(key_id, "key_id"),
        model=query.get("model"),
    )


def export_of(workspace: Workspace, query: Mapping[str, str], at: datetime) -> StreamingHttpResponse:
    """The download that an address asks for; the caller has checked the role."""
    by = by_of(query.get("by", "day"), (*spend.GROUPS, CALLS))
    kind = exports.kind_of(query)
    wanted = wanted_of(query, at)
    heads = spend.CALL_HEADS if by == CALLS else [*spend.HEADS[by], *spend.SUM_HEADS]

    def rows() -> Iterator[dict[str, object]]:
        if by == CALLS:
            return spend.call_rows(spend.calls(workspace, wanted))
        return (spend.as_row(by, group) for group in spend.everything(workspace, wanted, by))

    about = {"by": by, "from": wanted.since, "to": wanted.until}
    return exports.export(workspace.pk, rows, heads=heads, kind=kind, name=f"usage-by-{by}-{wanted.since:%Y%m%d}", about=about)


def _moment(query: Mapping[str, str], name: str, default: datetime) -> datetime:
    if name not in query:
        return default
    try:
        return spend.day_of(query[name])
    except (ValueError, OverflowError) as error:
        raise ValidationFailed("A day such as 2026-11-22, or a moment in RFC 3339.", param=name) from error


def read_after(cursor: str | None) -> tuple[int, str] | None:
    """The place after which a page of groups goes on. Raises ``ValidationFailed``."""
    return read_onward(cursor, _read_after)


def _read_after(text: str) -> tuple[int, str]:
    cost, _, name = text.partition(" ")
    if not (cost.isascii() and cost.isdigit() and len(cost) < 19):
        raise ValueError(text)
    return int(cost), name


def write_after(after: tuple[int, str] | None) -> str:
    return write_cursor(after and " ".join(map(str, after)))
