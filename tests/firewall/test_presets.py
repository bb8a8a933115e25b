"""Presets put into a policy by a button."""

import pytest

from firewall import posture, services
from firewall.engine.presets import PRESETS
from tests.factories.firewall import make_policy
from tests.firewall.pages import fresh, page
from workspaces import tenancy
from workspaces.permissions import Role

CAP = {"priority": 10, "verdict": "cap_cost", "cap_cost_cents": 500, "label": "Cap"}
OPEN = {"priority": 20, "verdict": "allow", "label": "Open"}


def ordered(policy):
    return [(rule.label, rule.priority) for rule in fresh(policy).in_order]


def insert(browser, policy, preset, **fields):
    return browser.post(f"/policies/{policy.pk}/presets/", {"preset": preset, "version": policy.version} | fields)


def test_a_preset_goes_before_all_but_the_caps_as_one_version(acme, browser):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), CAP, OPEN)

    answer = insert(browser, policy, "block_ssrf_egress")

    assert (answer.status_code, answer["Location"]) == (302, f"/policies/{policy.pk}/")
    labels = [str(rule["label"]) for rule in PRESETS["block_ssrf_egress"].rules]
    assert ordered(policy) == [("Cap", 10), (labels[0], 12), (labels[1], 14), (labels[2], 16), ("Open", 20)]
    with tenancy.scope(acme.workspace.pk):
        assert policy.version == 2
        told = acme.workspace.policy_versions.get(policy_id=policy.pk, version=2).summary
    assert told.startswith("Inserted the preset Block inside addresses. ")


def test_the_others_move_where_there_is_no_room(acme, browser):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), CAP | {"priority": 0}, OPEN | {"priority": 1})
    before = {rule.label: rule.pk for rule in fresh(policy).in_order}
    insert(browser, policy, "block_ssrf_egress")
    assert [priority for _, priority in ordered(policy)] == [10, 20, 30, 40, 50]
    assert {rule.label: rule.pk for rule in fresh(policy).in_order}.items() >= before.items(), "they are the same rules"


def test_only_what_is_missing_is_inserted(acme, browser):
    preset = PRESETS["block_ssrf_egress"]
    first = dict(preset.rules[0]) | {"label": "Mine", "priority": 5}
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), first, dict(preset.rules[1]) | {"enabled": False})

    assert "Insert 1 rule" not in page(browser.get(f"/policies/{policy.pk}/presets/")).partition(f'id="{preset.id}"')[2].partition("</header>")[0]
    insert(browser, policy, preset.id)

    assert [label for label, _ in ordered(policy)].count("Mine") == 1
    assert len(fresh(policy).in_order) == 4
    shown = page(browser.get(f"/policies/{policy.pk}/presets/")).partition(f'id="{preset.id}"')[2].partition("</header>")[0]
    assert "in this policy" in shown
    assert "Insert" not in shown
    insert(browser, policy, preset.id)
    assert fresh(policy).version == 2


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda each: each.id)
def test_each_is_told_rule_by_rule_and_may_be_inserted(acme, browser, preset):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER))
    shown = page(browser.get(f"/policies/{policy.pk}/presets/"))
    assert preset.description in shown.replace("&#x27;", "'")
    insert(browser, policy, preset.id)
    assert [label for label, _ in ordered(policy)] == [rule["label"] for rule in preset.rules]
    with tenancy.scope(acme.workspace.pk):
        assert posture.missing_rules(fresh(policy), preset) == []


def test_it_is_not_put_over_what_somebody_saved_meanwhile(acme, browser):
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), CAP, OPEN)
    with tenancy.scope(acme.workspace.pk):
        services.delete_rule(policy.rules.get(label="Open"), actor=acme.person(Role.OWNER), at=policy.created_at)
    met = page(insert(browser, policy, "block_ssrf_egress", version=1), 409)
    assert "Inserting “Block inside addresses”" in met
    assert ordered(policy) == [("Cap", 10)]


def test_too_many_rules_and_unknown_presets_are_refused(acme, browser):
    rules = [OPEN | {"tool_name_glob": f"t{place}"} for place in range(499)]
    policy = make_policy(acme.workspace, acme.person(Role.OWNER), *rules)
    assert "A policy has at most 500 rules" in page(insert(browser, policy, "block_ssrf_egress"), 422)
    assert insert(browser, policy, "block_fun").status_code == 404
    assert fresh(policy).version == 1


def test_the_policy_leads_to_them_for_those_who_may_edit(acme, browser, policy):
    assert f"/policies/{policy.pk}/presets/" in page(browser.get(f"/policies/{policy.pk}/"))
    assert f"/policies/{policy.pk}/presets/" not in page(acme.client(Role.MEMBER).get(f"/policies/{policy.pk}/"))
