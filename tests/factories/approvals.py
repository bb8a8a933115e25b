"""Held calls as the gateway hands them to the services."""

from approvals import services
from approvals.engine.args_hash import args_hash, as_json, rule_hash
from approvals.engine.binding import Bound
from approvals.models import Approval
from approvals.selectors import engine_rule
from approvals.services import HeldCall
from firewall.models import Policy
from tests.factories.firewall import make_policy
from tests.factories.workspaces import Tenant
from workspaces import tenancy
from workspaces.ids import uuid7
from workspaces.permissions import Role

HOLDING = {"verdict": "pending_approval", "tool_name_glob": "payments.*", "label": "a person decides"}
PAYMENT = '{"amount": 4180}'


def make_holding_policy(tenant: Tenant, **fields: object) -> Policy:
    return make_policy(tenant.workspace, tenant.person(Role.OWNER), HOLDING, name=f"policy {uuid7().hex[-12:]}", **fields)


def held_call(policy: Policy, *, arguments: str = PAYMENT, tool: str = "payments.transfer", key_id: int = 7, run: str = "run-1", **event) -> HeldCall:
    """A call that the policy's first rule holds."""
    rule = engine_rule(policy.rules.first())
    bound = Bound(
        key_id=key_id,
        surface="mcp",
        tool_name=tool,
        args_hash=args_hash(arguments),
        request_hash="",
        tool_hash="",
        policy_id=policy.pk,
        rule_hash=rule_hash(rule),
    )
    row = {
        "id": uuid7(),
        "workspace_id": policy.workspace_id,
        "source": "evaluate",
        "surface": "mcp",
        "verdict": "pending_approval",
        "tool_name": tool,
        "reason": "matched payments.*",
        "factors": [],
        "risk_score": 70,
        "policy_id": policy.pk,
        "policy_name": policy.name,
        "policy_version": policy.version,
        "rule_id": rule.id,
        "rule_label": rule.label,
        "request_id": f"req_{uuid7().hex}",
        "agent_run_id": run,
        "run_source": "header",
        "key_id": key_id,
        "token_name": "agent",
        "environment": "prod",
        "args_hash": bound.args_hash,
    }
    return HeldCall(bound, as_json(rule), arguments, row | event)


def make_hold(policy: Policy, **call: object) -> Approval:
    """One pending hold."""
    with tenancy.scope(policy.workspace_id):
        made = services.hold_calls(policy.workspace, calls=[held_call(policy, **call)])[0]
    assert made is not None
    return made
