"""Two people edit one policy: neither writes over the other unseen, and nothing that was typed is lost."""

import pytest

from tests.firewall.pages import HTMX, page
from workspaces import tenancy
from workspaces.permissions import Role

RULE = {"label": "No shell", "tool_name_glob": "shell.*", "stage": "", "verdict": "deny", "priority": "20", "notes": "", "enabled": "on"}


@pytest.fixture
def mine(acme):
    return acme.client(Role.DEVELOPER)


@pytest.fixture
def theirs(acme):
    return acme.client(Role.ADMIN)


def rules(policy):
    with tenancy.scope(policy.workspace_id):
        policy.refresh_from_db()
        return list(policy.rules.all())


def test_a_rule_that_both_changed_is_put_together(acme, mine, theirs, policy):
    _, shell = rules(policy)
    address = f"/policies/{policy.pk}/rules/{shell.pk}/"
    theirs.post(address, RULE | {"notes": "theirs", "priority": "40", "version": "1"})

    typed = RULE | {"label": "Shells", "priority": "30", "version": "1"}
    met = page(mine.post(address, typed, headers=HTMX), 422)
    whole = page(mine.post(address, typed), 409)

    for shown in (met, whole):
        assert f"{acme.person(Role.ADMIN).email} saved meanwhile: version 2, and yours began at 1." in shown
        assert "“No shell”: notes nothing, now theirs." in shown
        assert "Re-apply mine" in shown
        assert "Take theirs" in shown
    assert met.count("yours over theirs") == 1, "only the priority was changed by both"
    form = met.partition('id="rule-form"')[2]
    assert [part in form for part in ('value="Shells"', ">\ntheirs</textarea>", 'value="30"', 'name="version" value="2"')] == [True] * 4
    assert rules(policy)[1].label == "No shell", "nothing is saved by being shown"

    mine.post(address, typed | {"notes": "theirs", "version": "2"})
    assert [(rule.label, rule.notes, rule.priority) for rule in rules(policy)][1] == ("Shells", "theirs", 30)


def test_what_was_typed_outlives_the_rule_that_somebody_deleted(mine, theirs, policy):
    search, shell = rules(policy)
    theirs.post(f"/policies/{policy.pk}/rules/{shell.pk}/delete/", {"confirmed": "yes"})

    met = page(mine.post(f"/policies/{policy.pk}/rules/{shell.pk}/", RULE | {"label": "Shells", "version": "1"}, headers=HTMX), 422)
    never = mine.post(f"/policies/{policy.pk}/rules/{search.pk + 1000}/", RULE | {"version": "1"}, headers=HTMX)

    assert "stands below as a new rule" in met
    assert f'action="/policies/{policy.pk}/rules/"' in met
    assert 'value="Shells"' in met
    assert "Add it as a new rule" in met
    assert never.status_code == 404


def test_a_policys_own_fields_are_put_together(mine, theirs, policy):
    fields = {"name": "agents", "default_verdict": "deny", "block_notice": "on", "refuse_unknown_fields": "on", "version": "1"}
    theirs.post(f"/policies/{policy.pk}/", fields | {"name": "theirs"})

    met = page(mine.post(f"/policies/{policy.pk}/", {name: fields[name] for name in fields if name != "block_notice"}, headers=HTMX), 422)

    form = met.partition('id="policy"')[2].partition("</form>")[0]
    assert 'value="theirs"' in form
    assert "checked" not in form.partition('name="block_notice"')[2].partition(">")[0]
    assert 'form="policy">Re-apply mine' in met


@pytest.mark.parametrize(
    ("path", "sent", "undone"),
    [
        ("rules/order/", {"up": "{shell}"}, "Moving the rule"),
        ("rules/{shell}/switch/", {"enabled": "off"}, "Disabling “No shell”"),
        ("rules/{shell}/delete/", {"confirmed": "yes"}, "Deleting “No shell”"),
    ],
)
def test_what_is_done_by_one_press_is_not_done_over_somebody_elses_change(mine, theirs, policy, path, sent, undone):
    shell = rules(policy)[1].pk
    theirs.post(f"/policies/{policy.pk}/set/", {"shadow_mode": "on"})
    sent = {name: value.format(shell=shell) for name, value in sent.items()}

    met = page(mine.post(f"/policies/{policy.pk}/" + path.format(shell=shell), sent | {"version": "1"}, headers=HTMX), 422)

    assert f"{undone} was not done." in met
    assert "Shadow mode: off, now on." in met
    assert 'data-version="2"' in met
    assert [(rule.pk, rule.enabled) for rule in rules(policy)][1] == (shell, True)
    page(mine.post(f"/policies/{policy.pk}/" + path.format(shell=shell), sent | {"version": "2"}, headers=HTMX))


@pytest.mark.parametrize(
    ("path", "sent", "undone"), [("set/", {"shadow_mode": "off"}, "What you asked for"), ("delete/", {"confirmed": "yes"}, "Deleting agents")]
)
def test_nobody_goes_live_with_or_deletes_what_somebody_else_changed_meanwhile(mine, theirs, policy, path, sent, undone):
    shell = rules(policy)[1].pk
    theirs.post(f"/policies/{policy.pk}/set/", {"shadow_mode": "on", "confirmed": "yes"})
    report = page(mine.get(f"/policies/{policy.pk}/shadow/"))
    assert 'name="version" value="2"' in report.partition('id="go-live"')[2]
    theirs.post(f"/policies/{policy.pk}/rules/{shell}/", RULE | {"tool_name_glob": "*", "version": "2"})

    met = page(mine.post(f"/policies/{policy.pk}/{path}", sent | {"version": "2"}), 409)

    assert f"{undone} was not done." in met
    assert "“No shell”: tool shell.*, now *." in met
    with tenancy.scope(policy.workspace_id):
        policy.refresh_from_db()
    assert policy.shadow_mode
    # Nor with what they changed themselves, in another window.
    mine.post(f"/policies/{policy.pk}/rules/{shell}/", RULE | {"tool_name_glob": "a.*", "version": "3"})
    page(mine.post(f"/policies/{policy.pk}/{path}", sent | {"version": "3"}), 409)
    mine.post(f"/policies/{policy.pk}/{path}", sent | {"version": "4"})
    with tenancy.scope(policy.workspace_id):
        assert not policy.workspace.policies.filter(pk=policy.pk, shadow_mode=True).exists()


def test_ones_own_presses_follow_one_another(mine, policy):
    shell = rules(policy)[1].pk
    for enabled in ("off", "on", "off"):
        page(mine.post(f"/policies/{policy.pk}/rules/{shell}/switch/", {"enabled": enabled, "version": "1"}, headers=HTMX))

    assert (rules(policy)[1].enabled, policy.version) == (False, 4)
