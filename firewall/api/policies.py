"""Policies and their rules."""

from http import HTTPStatus

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from firewall import selectors, services
from firewall.api.bodies import (
    NamedPolicyChange,
    NamedRuleChange,
    NewPolicy,
    NewRule,
    Order,
    PolicyChange,
    PolicyOut,
    PolicyWithRules,
    RuleChange,
    RuleOut,
    RuleWithWarnings,
    answered,
    expected_version,
    read,
    version_to_delete,
)
from firewall.models import Policy, Rule
from workspaces.api_base import ApiRequest, WorkspaceViewSet
from workspaces.api_schema import PAGING, page_of
from workspaces.errors import NotFound, ValidationFailed
from workspaces.params import row_id


class PolicyViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/policies``"""

    collection = "policies"
    permissions = {
        "list": "firewall.view_policy",
        "retrieve": "firewall.view_policy",
        "create": "firewall.change_policy",
        "change_named": "firewall.change_policy",
        "update": "firewall.change_policy",
        "destroy": "firewall.change_policy",
        "order": "firewall.change_policy",
    }

    def get_queryset(self) -> QuerySet[Policy]:
        return selectors.policies(self.workspace)

    @extend_schema(parameters=PAGING, responses=page_of(PolicyOut, "PolicyPage"))
    def list(self, request: ApiRequest) -> Response:
        return self.keyset(self.get_queryset(), lambda found: PolicyOut(found, many=True).data)

    @extend_schema(request=NewPolicy, responses={201: PolicyWithRules})
    def create(self, request: ApiRequest) -> Response:
        fields = read(NewPolicy, request)
        rules = fields.pop("rules", [])
        policy = services.create_policy(self.workspace, fields=fields, rules=rules, actor=request.user, at=timezone.now())
        return answered(self.get_queryset(), policy.pk, HTTPStatus.CREATED)

    @extend_schema(responses=PolicyWithRules)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return answered(self.get_queryset(), self.get_object().pk)

    @extend_schema(request=NamedPolicyChange, responses=PolicyWithRules)
    def change_named(self, request: ApiRequest) -> Response:
        """Change the fields that are named; ``id`` says of which policy."""
        fields = read(NamedPolicyChange, request)
        self.kwargs["pk"] = fields.pop("id", None)
        return self._change(request, fields)

    @extend_schema(request=PolicyChange, responses=PolicyWithRules)
    def update(self, request: ApiRequest, pk: str) -> Response:
        return self._change(request, read(PolicyChange, request))

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        services.delete_policy(self.get_object(), expected_version=version_to_delete(request), actor=request.user, at=timezone.now())
        return Response(status=204)

    @extend_schema(request=Order, responses=PolicyWithRules)
    def order(self, request: ApiRequest, pk: str) -> Response:
        """Put all rules in a new order; their priorities become 10, 20, 30, ..."""
        policy, fields = self.get_object(), read(Order, request)
        version, ids = expected_version(fields, request), fields.get("rule_ids")
        if not isinstance(ids, list):
            raise ValidationFailed("A list with the id of every rule.", param="rule_ids")
        ids = [row_id(rule_id, param=f"rule_ids.{place}") for place, rule_id in enumerate(ids)]
        services.order_rules(policy, rule_ids=ids, expected_version=version, actor=request.user, at=timezone.now())
        return answered(self.get_queryset(), policy.pk)

    def _change(self, request: ApiRequest, fields: dict) -> Response:
        policy, version = self.get_object(), expected_version(fields, request)
        services.change_policy(policy, changes=fields, expected_version=version, actor=request.user, at=timezone.now())
        return answered(self.get_queryset(), policy.pk)


class RuleViewSet(WorkspaceViewSet):
    """``/api/workspace/firewall/rules``"""

    collection = "rules"
    permissions = {
        "list": "firewall.view_policy",
        "retrieve": "firewall.view_policy",
        "create": "firewall.change_policy",
        "change_named": "firewall.change_policy",
        "update": "firewall.change_policy",
        "destroy": "firewall.change_policy",
    }
    filters = {"list": {"policy_id"}}

    def get_queryset(self) -> QuerySet[Rule]:
        return self.workspace.rules.select_related("policy")

    @extend_schema(parameters=[OpenApiParameter("policy_id", int), *PAGING], responses=page_of(RuleOut, "RulePage"))
    def list(self, request: ApiRequest) -> Response:
        """Rules by descending id; a policy's own page has them in the order in which they are judged."""
        found = self.get_queryset()
        if (policy_id := request.query_params.get("policy_id")) is not None:
            found = found.filter(policy=self._policy(policy_id))
        return self.keyset(found, lambda rules: RuleOut(rules, many=True).data)

    @extend_schema(request=NewRule, responses={201: RuleWithWarnings})
    def create(self, request: ApiRequest) -> Response:
        fields = read(NewRule, request)
        policy, version = self._policy(fields.pop("policy_id", None)), expected_version(fields, request)
        rule = services.add_rule(policy, fields=fields, expected_version=version, actor=request.user, at=timezone.now())
        return self._shown(rule, status=201)

    @extend_schema(responses=RuleWithWarnings)
    def retrieve(self, request: ApiRequest, pk: str) -> Response:
        return self._shown(self.get_object())

    @extend_schema(request=NamedRuleChange, responses=RuleWithWarnings)
    def change_named(self, request: ApiRequest) -> Response:
        """Change the fields that are named; ``id`` says of which rule."""
        fields = read(NamedRuleChange, request)
        self.kwargs["pk"] = fields.pop("id", None)
        return self._change(request, fields)

    @extend_schema(request=RuleChange, responses=RuleWithWarnings)
    def update(self, request: ApiRequest, pk: str) -> Response:
        return self._change(request, read(RuleChange, request))

    @extend_schema(responses={204: None})
    def destroy(self, request: ApiRequest, pk: str) -> Response:
        services.delete_rule(self.get_object(), expected_version=version_to_delete(request), actor=request.user, at=timezone.now())
        return Response(status=204)

    def _change(self, request: ApiRequest, fields: dict) -> Response:
        rule, version = self.get_object(), expected_version(fields, request)
        if "policy_id" in fields and self._policy(fields.pop("policy_id")).pk != rule.policy_id:
            raise ValidationFailed("A rule stays in its policy. Add it to the other one and delete it here.", param="policy_id")
        services.change_rule(rule, changes=fields, expected_version=version, actor=request.user, at=timezone.now())
        return self._shown(rule)

    def _policy(self, policy_id: object) -> Policy:
        found = self.workspace.policies.filter(pk=row_id(policy_id, param="policy_id")).first()
        if found is None:
            raise NotFound("There is no such policy.", param="policy_id")
        return found

    def _shown(self, rule: Rule, status: int = 200) -> Response:
        return Response(RuleWithWarnings(rule).data, status=status, headers={"ETag": f'"{rule.policy.version}"'})
