"""Budgets, prices and stopped runs: what the gateway gets of them, and what is refused."""

import pytest
from django.utils import timezone

from keys import money_services, selectors
from keys.engine.grant import Price, Tier
from keys.provider_services import ModelSpec
from tests.factories.keys import make_key, make_provider
from workspaces import errors, tenancy, vault
from workspaces.permissions import Role


def grant_of(plaintext: str):
    return selectors.load_grant(vault.lookup_hash(plaintext))


def act(tenant, service, *subject, **fields):
    with tenancy.scope(tenant.workspace.pk):
        return service(*subject, **fields, actor=tenant.person(Role.ADMIN), at=timezone.now())


def actions(tenant) -> list[str]:
    with tenancy.scope(tenant.workspace.pk):
        return list(tenant.workspace.audit_entries.order_by("id").values_list("action", flat=True))


def test_a_budget_is_in_force_on_the_next_call_and_its_removal_too(acme):
    maker = acme.person(Role.DEVELOPER)
    _, plaintext = make_key(acme, credit_limit_micro_usd=9, cycle_limit_micro_usd=8, cycle="week")
    before = grant_of(plaintext)
    whole = act(acme, money_services.set_budget, acme.workspace, member=None, limit_micro_usd=5)
    act(acme, money_services.set_budget, acme.workspace, member=maker, limit_micro_usd=3)
    act(acme, money_services.set_budget, acme.workspace, member=acme.person(Role.OWNER), limit_micro_usd=1)
    limits = grant_of(plaintext).limits
    assert (limits.credit_limit_micro_usd, limits.cycle_limit_micro_usd, limits.cycle, limits.member_id) == (9, 8, "week", maker.pk)
    assert (limits.workspace_month_micro_usd, limits.member_month_micro_usd) == (5, 3)
    assert grant_of(plaintext).config_version > before.config_version
    act(acme, money_services.remove_budget, whole)
    assert grant_of(plaintext).limits.workspace_month_micro_usd is None
    assert [action for action in actions(acme) if action.startswith("budget")] == ["budget_update"] * 3 + ["budget_delete"]


def test_a_budget_set_again_to_the_same_leaves_no_entry(acme):
    for _ in range(2):
        act(acme, money_services.set_budget, acme.workspace, member=None, limit_micro_usd=5)
    assert actions(acme).count("budget_update") == 1


def test_a_budget_is_for_a_member_of_this_workspace(acme, rival):
    with pytest.raises(errors.NotFound):
        act(acme, money_services.set_budget, acme.workspace, member=rival.person(Role.MEMBER), limit_micro_usd=5)


def test_a_workspaces_price_goes_before_the_providers_side_by_side(acme):
    make_provider(acme, models=(ModelSpec("m", input_per_million_micro_usd=1, output_per_million_micro_usd=2), "gpt-4o"))
    _, plaintext = make_key(acme)
    tiers = [{"above_input_tokens": 100, "input_per_million_micro_usd": 9}]
    made = act(
        acme, money_services.set_price, acme.workspace, model="m", fields={"output_per_million_micro_usd": 7, "tiers": tiers, "tools": {"web_search": 4}}
    )
    models = grant_of(plaintext).models
    assert models["m"][0].price == Price(1, 7, tools=(("web_search", 4),), tiers=(Tier(100, 9),))
    assert models["gpt-4o"][0].price is None
    act(acme, money_services.remove_price, made)
    assert grant_of(plaintext).models["m"][0].price == Price(1, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"input_per_million_micro_usd": -1},
        {"per_request_micro_usd": None},
        {"reasoning_per_million_micro_usd": True},
        {"tools": {"web_search": -1}},
        {"tools": ["web_search"]},
        {"tiers": [{"input_per_million_micro_usd": 1}]},
        {"tiers": [{"above_input_tokens": 1, "surprise": 1}]},
        {"tiers": [{"above_input_tokens": 1}, {"above_input_tokens": 1}]},
        {"default_output_tokens": 0},
    ],
)
def test_what_is_no_price_is_refused_and_named(acme, fields):
    with pytest.raises(errors.ValidationFailed) as refused:
        act(acme, money_services.set_price, acme.workspace, model="m", fields=fields)
    assert refused.value.param == next(iter(fields))


def test_a_run_is_stopped_once_and_for_its_key_alone(acme):
    key, plaintext = make_key(acme)
    _, other = make_key(acme)
    for _ in range(2):
        act(acme, money_services.stop_run, acme.workspace, key_id=key.pk, run_id="run_1")
    assert grant_of(plaintext).stopped_runs == {"run_1"}
    assert grant_of(other).stopped_runs == frozenset()
    assert actions(acme).count("run_stop") == 1
