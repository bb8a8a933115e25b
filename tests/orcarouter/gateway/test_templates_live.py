"""A loop that nobody watches, played through each template on the running product."""

import pytest
from django.utils import timezone

import keys.services
from firewall import posture
from firewall.engine.templates import TEMPLATES
from orcarouter.demo import runaway
from workspaces import tenancy
from workspaces.permissions import Role
from workspaces.services import touch_config

pytestmark = pytest.mark.stack

#: What the longest answer of a turn costs, as a part of the cap.
TURNS = 4


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_runaway_loop_ends_at_the_templates_cap(agent, template):
    owner, now = agent.tenant.person(Role.OWNER), timezone.now()
    with tenancy.scope(agent.workspace.pk):
        policy = posture.apply_template(agent.workspace, template=template, actor=owner, at=now)
        keys.services.change_key(agent.key(), changes={"firewall_policy": policy}, actor=owner, at=now)
        cap = policy.rules.first().cap_cost_cents * 10_000
        price = cap // TURNS * 1_000_000 // runaway.ANSWER_TOKENS
        model = agent.workspace.providers.get().models.filter(name=runaway.MODEL)
        model.update(input_per_million_micro_usd=0, output_per_million_micro_usd=price)
        touch_config(agent.workspace)

    turns = list(runaway.loop(agent.sdk(), f"loop-{template}"))

    assert turns[-1].reason_code == "cost_cap", turns[-1]
    assert len(turns) > TURNS
    spent = sum(row.cost_micro_usd for row in agent.usage(agent_run_id=f"loop-{template}"))
    assert cap - cap // TURNS <= spent <= cap
