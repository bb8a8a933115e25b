"""Whatever the clock does and whoever comes first, a hold ends once; and what is over is ended by one beat, however many it is."""

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

from django.db import connections
from django.db.models import F
from django.db.models.functions import Now

from approvals import services, tasks
from approvals.engine.binding import State
from approvals.models import Approval, Delivery
from approvals.selectors import bound_of
from tests.approvals.test_outbox import point
from tests.factories.approvals import held_call, make_hold, make_holding_policy
from tests.factories.workspaces import Tenant, make_tenant
from tests.figures import HOLDS
from workspaces import audit, errors, tenancy
from workspaces.permissions import Role

#: More than one transaction ends.
OVERDUE = max(HOLDS, services.EXPIRED_AT_ONCE + 100)
A_WORKSPACE = 500
ENDINGS = {("create", "expire"), ("create", "reject"), ("create", "approve", "consume"), ("create", "approve", "expire")}


def make_holds(count: int) -> tuple[Tenant, list[str]]:
    tenant = make_tenant()
    policy = make_holding_policy(tenant)
    with tenancy.scope(tenant.workspace.pk):
        for run in range(count // 20):
            calls = [held_call(policy, arguments=f'{{"n": {n}}}', run=f"run-{run}", key_id=run) for n in range(20)]
            assert all(services.hold_calls(tenant.workspace, calls=calls))
        return tenant, list(tenant.workspace.approvals.values_list("pk", flat=True))


def meddle(tenant: Tenant, ids: list[str], seed: int) -> None:
    """What people, agents, the sweep and the clock do, in any order."""
    chance, person = random.Random(seed), tenant.person(Role.DEVELOPER)
    try:
        for approval_id in chance.choices(ids, k=len(ids) // 2):
            with tenancy.scope(tenant.workspace.pk), suppress(errors.ApprovalResolved, errors.ApprovalInvalid):
                approval = tenant.workspace.approvals.get(pk=approval_id)
                bound = bound_of(approval)
                match chance.choice(["approve", "approve", "reject", "spend", "spend", "jump", "sweep"]):
                    case "approve":
                        services.resolve(approval, decision=State.APPROVED, by=person)
                    case "reject":
                        services.resolve(approval, decision=State.REJECTED, by=person)
                    case "spend":
                        services.redeem(tenant.workspace, calls={approval_id: bound}, request_id="req_again")
                    case "jump":
                        # As the rows see it, that is the database's clock going forth or back.
                        some = chance.sample(ids, len(ids) // 10)
                        jump = timedelta(seconds=chance.choice([-90_000, -1_000, -1, 5, 90_000]))
                        Approval.objects.filter(pk__in=some).update(expires_at=F("expires_at") + jump)
                    case "sweep":
                        services.expire(tenant.workspace)
    finally:
        connections.close_all()


def overdue(tenant: Tenant) -> None:
    with tenancy.scope(tenant.workspace.pk):
        tenant.workspace.approvals.update(expires_at=Now() - timedelta(seconds=1))


def test_however_the_clock_jumps_each_hold_ends_once(committed):
    made = [make_holds(min(A_WORKSPACE, HOLDS)) for _ in range(max(HOLDS // A_WORKSPACE, 1))]
    for tenant, ids in made:
        with ThreadPoolExecutor(3) as many:
            list(many.map(lambda seed, tenant=tenant, ids=ids: meddle(tenant, ids, seed), range(3)))
        overdue(tenant)
    tasks.expire()
    for tenant, ids in made:
        with tenancy.scope(tenant.workspace.pk):
            assert not tenant.workspace.approvals.filter(state__in=[State.PENDING, State.APPROVED]).exists()
            for told in (
                tenant.workspace.audit_entries.filter(action__startswith="firewall_approval").order_by("sequence").values_list("target_id", "action"),
                tenant.workspace.events.exclude(approval_id=None).order_by("id").values_list("approval_id", "reason_code"),
            ):
                ways = defaultdict(list)
                for approval_id, what in told:
                    ways[approval_id].append(WORDS.get(what, what.rpartition("_")[2] if what else "create"))
                assert set(ways) == set(ids)
                assert {tuple(way) for way in ways.values()} <= ENDINGS
            assert audit.verify(tenant.workspace) is None


#: The last word of a reason code, as the audit verb has it.
WORDS = {"approval_approved": "approve", "approval_rejected": "reject", "approval_expired": "expire", "approval_consumed": "consume"}


def test_one_beat_ends_all_that_is_over_and_tells_of_each(committed):
    tenant = make_tenant()
    policy = make_holding_policy(tenant)
    first = make_hold(policy)
    fields = [field.attname for field in Approval._meta.concrete_fields]
    with tenancy.scope(tenant.workspace.pk):
        values = {name: getattr(Approval.objects.get(pk=first.pk), name) for name in fields}
        rows = [Approval(**values | {"id": f"{tenant.workspace.pk:012x}{n:012x}", "binding": f"{n:064x}"}) for n in range(1, OVERDUE)]
        Approval.objects.bulk_create(rows, batch_size=1000)
    point(tenant.workspace, "https://192.0.2.1/hook")
    overdue(tenant)
    tasks.expire()
    with tenancy.scope(tenant.workspace.pk):
        told = tenant.workspace.deliveries.filter(event="firewall.approval.expired")
        events = tenant.workspace.events.filter(reason_code="approval_expired")
        noted = tenant.workspace.audit_entries.filter(action="firewall_approval_expire")
        ended = set(tenant.workspace.approvals.filter(state=State.EXPIRED).values_list("pk", flat=True))
        assert len(ended) == OVERDUE
        for ids in (told.values_list("approval_id", flat=True), events.values_list("approval_id", flat=True), noted.values_list("target_id", flat=True)):
            assert sorted(ids) == sorted(ended)
        assert audit.verify(tenant.workspace) is None
        # Nobody is there to hear of so many; a worker may be trying some already.
        told.update(state=Delivery.State.STOPPED)
