"""Backtests: a policy over what was recorded."""

from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from firewall import backtests
from firewall.api.bodies import Named, read
from firewall.api.tools import DraftPolicy
from firewall.engine.tally import KINDS
from firewall.models import Backtest
from firewall.selectors import VERDICTS
from firewall.selectors.backtests import backtests as backtests_of
from workspaces.api_base import ApiRequest, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of
from workspaces.errors import ValidationFailed
from workspaces.params import row_id, time_of

TIME = "RFC 3339, or Unix seconds."


# --- In -------------------------------------------------------------------------------------------------------------
class NewBacktest(Named):
    policy_id = serializers.IntegerField(required=False, help_text="A saved policy; with `policy` the one that the draft is one of.")
    version = serializers.IntegerField(required=False, help_text="An earlier version of the saved policy.")
    policy = DraftPolicy(required=False, help_text="A policy that is not saved.")
    to = serializers.CharField(required=False, help_text=f"The window's end, exclusive; now unless given. {TIME}")
    keys = serializers.ChoiceField(
        [backtests.GOVERNED, backtests.ALL],
        required=False,
        help_text="Whose runs: of the keys that the saved policy governs now, or of all. Unless given the first, if there are any.",
    )
    enforce = serializers.BooleanField(required=False, default=False, help_text="Judge as if the policy were not in shadow.")

    def get_fields(self) -> dict:
        # No Python name may be called that.
        return super().get_fields() | {"from": serializers.CharField(required=False, help_text=f"The window's beginning; seven days before its end. {TIME}")}


# --- Out ------------------------------------------------------------------------------------------------------------
class ChangeCounts(serializers.Serializer):
    newly_denied = serializers.IntegerField()
    newly_allowed = serializers.IntegerField(help_text="Was denied or held, and would go on.")
    newly_held = serializers.IntegerField()
    other = serializers.IntegerField(help_text="Another verdict that neither stops what went on nor lets on what was stopped; sanitized or not among it.")


class LineCounts(ChangeCounts):
    counterfactual = serializers.IntegerField(help_text="Of the changes, those after the first change of their run.")
    not_replayable = serializers.IntegerField()


class ToolLine(LineCounts):
    tool_name = serializers.CharField(allow_null=True, help_text="Null: the request itself.")
    calls = serializers.IntegerField()


class KeyLine(LineCounts):
    key_id = serializers.IntegerField(allow_null=True)
    token_name = serializers.CharField(allow_null=True)
    calls = serializers.IntegerField()


class RunLine(LineCounts):
    run_id = serializers.CharField(allow_null=True)
    key_id = serializers.IntegerField(allow_null=True)
    token_name = serializers.CharField(allow_null=True)


class ChangeLine(serializers.Serializer):
    before = serializers.ChoiceField(VERDICTS)
    after = serializers.ChoiceField(VERDICTS)
    kind = serializers.ChoiceField(KINDS)
    calls = serializers.IntegerField()
    counterfactual = serializers.IntegerField()


class Example(serializers.Serializer):
    event_id = serializers.UUIDField(allow_null=True, help_text="Null: a request that was let in, which has no event.")
    place = serializers.IntegerField(allow_null=True, help_text="The tool's place in an event of several tools, from 0.")
    request_id = serializers.CharField(required=False)
    run_id = serializers.CharField(allow_null=True)
    key_id = serializers.IntegerField(allow_null=True)
    token_name = serializers.CharField(allow_null=True)
    tool_name = serializers.CharField(allow_null=True)
    surface = serializers.CharField()
    at_ms = serializers.IntegerField(help_text="Unix milliseconds.")
    before = serializers.ChoiceField(VERDICTS)
    after = serializers.ChoiceField(VERDICTS)
    reason = serializers.CharField(help_text="Of the verdict that would be.")
    rule_id = serializers.IntegerField(allow_null=True)
    rule_label = serializers.CharField(allow_null=True)
    counterfactual = serializers.BooleanField()


class Examples(serializers.Serializer):
    newly_denied = Example(many=True)
    newly_allowed = Example(many=True)
    newly_held = Example(many=True)
    other = Example(many=True)


class Counterfactual(serializers.Serializer):
    calls = serializers.IntegerField(help_text="Calls after the first change of their run.")
    changed = serializers.IntegerField(help_text="Of them, those with another verdict.")


class NotReplayable(serializers.Serializer):
    calls = serializers.IntegerField()
    arguments = serializers.IntegerField(help_text="A rule that could match looks at arguments, and not all of them were kept.")
    destinations = serializers.IntegerField(help_text="A rule that could match looks at addresses, and the name was not looked up.")
    sequence = serializers.IntegerField(help_text="A rule that could match follows a sequence through a call that is not known well enough.")


class ResultOut(ChangeCounts):
    calls = serializers.IntegerField(help_text="Recorded calls and offered tools, each for itself, and requests that are refused for themselves.")
    runs = serializers.IntegerField()
    changed = serializers.IntegerField()
    counterfactual = Counterfactual()
    not_replayable = NotReplayable()
    estimated = serializers.IntegerField(help_text="Judged under a cap by what the call did cost: what it might have cost was not recorded.")
    by_change = ChangeLine(many=True)
    by_tool = ToolLine(many=True, help_text="The 20 with most changes; so are the keys and the runs.")
    by_key = KeyLine(many=True)
    by_run = RunLine(many=True)
    examples = Examples(help_text="At most ten of a kind; those that surely would have happened first.")


class BacktestLine(serializers.ModelSerializer):
    policy_name = serializers.SerializerMethodField()
    keys = serializers.SerializerMethodField(help_text="`all`, but for `but_key_ids`, or those of `key_ids`.")
    created_by = serializers.EmailField(source="created_by.email", allow_null=True, default=None)
    events = serializers.IntegerField(allow_null=True, help_text="Null until they are counted.")
    replayed = serializers.SerializerMethodField(help_text="Events judged so far.")

    class Meta:
        model = Backtest
        fields: tuple[str, ...] = (
            *("id", "state", "policy_id", "policy_name", "policy_version", "is_draft", "keys", "key_ids", "but_key_ids"),
            *("events", "replayed", "error", "created_at", "created_by", "started_at", "finished_at"),
        )

    def get_fields(self) -> dict:
        return super().get_fields() | {"from": serializers.DateTimeField(source="start"), "to": serializers.DateTimeField(source="end")}

    def get_policy_name(self, backtest: Backtest) -> str:
        return backtest.snapshot["name"]

    def get_keys(self, backtest: Backtest) -> str:
        return "all" if backtest.key_ids is None else "some"

    def get_replayed(self, backtest: Backtest) -> int:
        return (backtest.events or 0) if backtest.state == Backtest.State.DONE else getattr(backtest, "replayed", 0)


class BacktestOut(BacktestLine):
    result = ResultOut(allow_null=True, help_text="Null until it is done.")

    class Meta(BacktestLine.Meta):
        fields = (*BacktestLine.Meta.fields, "result")


class BacktestViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/backtests``"""

    permissions = dict.fromkeys(("list", "create", "retrieve", "cancel"), "firewall.backtest_policy")

    def get_queryset(self) -> QuerySet[Backtest]:
        return backtests_of(self.workspace)

    @extend_schema(parameters=PAGING, responses=page_of(BacktestLine, "BacktestPage"))
    def list(self, request: ApiRequest) -> Response:
        """Backtests, newest first, without their results."""
        return self.keyset(self.get_queryset().defer("result"), lambda found: BacktestLine(found, many=True).data)

    @extend_schema(request=NewBacktest, responses={201: BacktestOut})
    def create(self, request: ApiRequest) -> Response:
        """Judge a saved policy or a draft over the recorded runs of a window. The work is done later: ask for the backtest until it is over."""
        fields = read(NewBacktest, request)
        made = backtests.start_backtest(self.workspace, **asked(fields), actor=request.user, at=timezone.now())
        return Response(BacktestOut(made).data, status=201)

    @extend_schema(responses=BacktestOut)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        """How far it is, and what came of it."""
        return Response(BacktestOut(self.get_object()).data)

    @extend_schema(request=None, responses=BacktestOut)
    def cancel(self, request: ApiRequest, pk: str) -> Response:
        """Stop it. 409 when it is over already."""
        found = self.get_object()
        backtests.cancel_backtest(found, at=timezone.now())
        return Response(BacktestOut(self.get_object()).data)


def asked(fields: dict) -> dict:
    """The arguments of ``start_backtest``. Raises ``ValidationFailed``."""
    draft, enforce, keys = fields.get("policy"), fields.get("enforce", False), fields.get("keys")
    if not (draft is None or isinstance(draft, dict)):
        raise ValidationFailed("A JSON object.", param="policy")
    if not isinstance(enforce, bool):
        raise ValidationFailed("True or false.", param="enforce")
    ids = {name: None if fields.get(name) is None else row_id(fields[name], param=name) for name in ("policy_id", "version")}
    window = {"start": _moment(fields.get("from"), "from"), "end": _moment(fields.get("to"), "to")}
    return {**ids, **window, "draft": draft, "keys": keys, "enforce": enforce}


def _moment(value: object, param: str) -> datetime | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not (value is None or isinstance(value, str)):
        raise ValidationFailed(f"A time: {TIME}", param=param)
    return None if value is None else time_of(value, param)
