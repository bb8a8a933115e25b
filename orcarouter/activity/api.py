"""Runs, conversations and traces, as JSON. They stand under ``/api/workspace/firewall/``, where the documents have them."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from firewall.models import Event
from firewall.selectors import VERDICTS
from keys.money_services import stop_run
from orcarouter.activity.selectors.ranked import MEASURES, Place, ranked
from orcarouter.activity.selectors.run_money import is_known, money_of
from orcarouter.activity.selectors.runs import GROUPS, Run, RunFilter, run_page, runs_named
from orcarouter.activity.selectors.traces import Call, calls_of
from workspaces.api_base import ApiRequest, Body, WorkspaceViewSet, page_size
from workspaces.errors import NotFound, ValidationFailed
from workspaces.paging import read_onward, write_cursor
from workspaces.params import MAX_ID, number_of, row_id

#: What a decision is about, by the surface on which it was taken.
KINDS = {"inbound": "advertised", "response": "tool_call", "mcp": "tool_call", "egress": "egress"}


class RunOut(serializers.Serializer):
    id = serializers.CharField()
    run_source = serializers.CharField(allow_null=True, help_text="`header`: sent by the agent; `derived`: made out of its messages.")
    key_id = serializers.IntegerField(allow_null=True)
    token_name = serializers.CharField()
    environment = serializers.CharField()
    conversation_id = serializers.CharField(allow_null=True)
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    calls = serializers.IntegerField()
    verdicts = serializers.DictField(child=serializers.IntegerField(), help_text="Decisions by verdict, one for each tool.")
    tools = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(child=serializers.CharField())
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost_micro_usd = serializers.IntegerField(allow_null=True, help_text="Null: nothing of it has a known price.")
    unpriced_calls = serializers.IntegerField(help_text="Calls whose price is unknown: not in the cost.")
    stopped_at = serializers.DateTimeField(allow_null=True, help_text="When a person stopped it: every later call of it is denied.")


class RunPage(serializers.Serializer):
    results = RunOut(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class Node(serializers.Serializer):
    id = serializers.UUIDField()
    event_id = serializers.UUIDField(allow_null=True, help_text="Null: a call, which is no event.")
    parent_id = serializers.UUIDField(allow_null=True)
    kind = serializers.ChoiceField(["model_call", *dict.fromkeys(KINDS.values())])
    occurred_at = serializers.DateTimeField()
    request_id = serializers.CharField()
    step_id = serializers.CharField(allow_null=True)
    parent_step_id = serializers.CharField(allow_null=True)
    model_name = serializers.CharField(allow_null=True)
    tool_name = serializers.CharField(allow_null=True)
    tools = serializers.ListField(child=serializers.CharField())
    verdict = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    rule_id = serializers.IntegerField(allow_null=True)
    status = serializers.IntegerField(allow_null=True)
    outcome = serializers.CharField(allow_null=True)
    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    cost_micro_usd = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)


class RunMoneyOut(serializers.Serializer):
    spent_micro_usd = serializers.IntegerField()
    reserved_micro_usd = serializers.IntegerField(source="held_micro_usd", help_text="What its calls in flight hold.")
    cap_micro_usd = serializers.IntegerField(allow_null=True, help_text="Of the strictest cost rule that judges its next call; null: none does.")
    reached_at = serializers.DateTimeField(allow_null=True, help_text="When the cap is reached at the pace of the last ten minutes; null: nobody can tell.")


class TraceOut(serializers.Serializer):
    run = RunOut()
    money = RunMoneyOut()
    nodes = Node(many=True)
    next = serializers.URLField(allow_null=True)


class StopBody(Body):
    run_id = serializers.RegexField(r"\A[A-Za-z0-9._:-]{1,128}\Z")
    key_id = serializers.IntegerField(required=False, min_value=1, max_value=MAX_ID, help_text="Whose run it is; needed where two keys have one of this id.")


class StoppedOut(serializers.Serializer):
    run_id = serializers.CharField()
    key_id = serializers.IntegerField()
    stopped_at = serializers.DateTimeField()


class RunViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/events/aggregate``, ``.../trace/by-run`` and ``.../runs/stop``"""

    permissions = {"aggregate": "activity.view_runs", "trace": "activity.view_runs", "stop": "activity.stop_run"}
    filters = {
        "aggregate": {"by", "key_id", "environment", "verdict", "order", "days", "limit", "cursor"},
        "trace": {"run_id", "key_id", "cursor"},
    }

    @extend_schema(
        parameters=[
            OpenApiParameter("by", str, enum=list(GROUPS)),
            OpenApiParameter("key_id", int),
            OpenApiParameter("environment", str),
            OpenApiParameter("verdict", str, enum=list(VERDICTS), description="With a decision of this verdict."),
            OpenApiParameter("order", str, enum=["latest", *MEASURES], description="Runs by their latest call, or the most first of the last `days`."),
            OpenApiParameter("days", {"type": "integer", "minimum": 1, "maximum": 90, "default": 7}),
            OpenApiParameter("limit", int),
            OpenApiParameter("cursor", str),
        ],
        responses=RunPage,
    )
    def aggregate(self, request: ApiRequest) -> Response:
        """Runs, or conversations, by their latest call, newest first. A page may hold fewer than ``limit``: follow ``next``."""
        by = request.query_params.get("by", "run")
        if by not in GROUPS:
            raise ValidationFailed(f"One of {', '.join(GROUPS)}.", param="by")
        wanted, days = self._wanted(), number_of(request.query_params.get("days", "7"), "days", most=90)
        if (order := request.query_params.get("order", "latest")) != "latest":
            return self._ranked(wanted, order, by, days)
        before = read_onward(request.query_params.get("cursor"), UUID)
        runs, older = run_page(self.workspace, wanted, limit=page_size(request), by=by, before=before)
        return Response({"results": RunOut(runs, many=True).data, "next": self.link(write_cursor(older)), "previous": None})

    @extend_schema(
        parameters=[OpenApiParameter("run_id", str, required=True), OpenApiParameter("key_id", int), OpenApiParameter("cursor", str)], responses=TraceOut
    )
    def trace(self, request: ApiRequest) -> Response:
        """A run's calls and what was decided in them, oldest first. A run belongs to a key: name it where two have the same id."""
        after = read_onward(request.query_params.get("cursor"), UUID)
        run = self._run()
        calls, later = calls_of(self.workspace, run, after=after)
        nodes = [node for call in calls for node in nodes_of(call)]
        spent = RunMoneyOut(money_of(self.workspace, run, at=timezone.now())).data
        return Response({"run": RunOut(run).data, "money": spent, "nodes": Node(nodes, many=True).data, "next": self.link(write_cursor(later))})

    @extend_schema(request=StopBody, responses=StoppedOut)
    def stop(self, request: ApiRequest) -> Response:
        """Deny every further call of a run (`run_stopped`), on every process from the next call on. It stays stopped."""
        body = StopBody(data=request.data)
        body.is_valid(raise_exception=True)
        run_id, key_id = body.validated_data["run_id"], body.validated_data.get("key_id")
        if key_id is None:
            key_id = self._named(run_id, None).key_id
        if key_id is None or not is_known(self.workspace, key_id, run_id):
            raise NotFound("Not found.", param="run_id")
        stopped = stop_run(self.workspace, key_id=key_id, run_id=run_id, actor=request.user, at=timezone.now())
        return Response(StoppedOut(stopped).data)

    def _ranked(self, wanted: RunFilter, order: str, by: str, days: int) -> Response:
        if order not in MEASURES:
            raise ValidationFailed(f"One of latest, {', '.join(MEASURES)}.", param="order")
        if by != "run":
            raise ValidationFailed("Conversations are listed by their latest call.", param="order")
        since = timezone.now() - timedelta(days=days)
        after = rank_of(self.request.query_params.get("cursor"))
        runs, later = ranked(self.workspace, wanted, order, since=since, limit=page_size(self.request), after=after)
        return Response({"results": RunOut(runs, many=True).data, "next": self.link(write_cursor(later and write_rank(later))), "previous": None})

    def _wanted(self) -> RunFilter:
        asked = self.request.query_params
        verdict = asked.get("verdict", "")
        if verdict and verdict not in VERDICTS:
            raise ValidationFailed("There is no such verdict.", param="verdict")
        return RunFilter(key_id=self._key_id(), environment=asked.get("environment"), verdict=verdict)

    def _run(self) -> Run:
        run_id = self.request.query_params.get("run_id", "")
        if not run_id:
            raise ValidationFailed("Which run?", param="run_id")
        return self._named(run_id, self._key_id())

    def _named(self, run_id: str, key_id: int | None) -> Run:
        found = runs_named(self.workspace, run_id, key_id)
        if not found:
            raise NotFound("Not found.")
        if len(found) > 1:
            raise ValidationFailed("Several keys have a run of this id: name one.", param="key_id", keys=[run.key_id for run in found])
        return found[0]

    def _key_id(self) -> int | None:
        given = self.request.query_params.get("key_id")
        return row_id(given, param="key_id") if given is not None else None


def rank_of(cursor: str | None) -> Place | None:
    """The place in an order that a cursor names. Raises ``ValidationFailed``."""
    return read_onward(cursor, _read_rank)


def _read_rank(text: str) -> Place:
    measure, key_id, run_id = text.split(" ", 2)
    if not (text.isascii() and measure.isdigit() and key_id.isdigit() and run_id and len(measure) < 19 and len(key_id) < 19):
        raise ValueError(text)
    return int(measure), int(key_id), run_id


def write_rank(place: Place) -> str:
    return " ".join(map(str, place))


def nodes_of(call: Call) -> list[dict]:
    """A call and, below it, each event of it."""
    own, usage = call.first, call.usage
    root = _blank(call.id, own) | {"kind": "model_call", "parent_id": call.parent and call.parent.id, "model_name": own.model_name}
    if usage:
        names = ("status", "outcome", "prompt_tokens", "completion_tokens", "cost_micro_usd", "latency_ms")
        root |= {name: getattr(usage, name) for name in names}
    return [root, *(_node(event, call) for event in call.events)]


def _node(event: Event, call: Call) -> dict:
    said = {name: getattr(event, name) for name in ("tool_name", "tools", "verdict", "reason", "rule_id", "model_name")}
    # Without a usage row the first event's id stands for the call; a node keeps an id of its own.
    return _blank(event.pk, event) | said | {"event_id": event.pk, "parent_id": call.id, "kind": KINDS.get(event.surface, "tool_call")}


def _blank(node_id: object, row: object) -> dict:
    shared = {name: getattr(row, name) for name in ("occurred_at", "request_id", "step_id", "parent_step_id")}
    return {"id": node_id, **shared, "event_id": None, "tools": []} | dict.fromkeys(
        ("tool_name", "verdict", "reason", "rule_id", "status", "outcome", "prompt_tokens", "completion_tokens", "cost_micro_usd", "latency_ms")
    )
