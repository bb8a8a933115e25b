"""The firewall's settings as one resource: what each role may set, what is refused, and that no secret comes out again."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from approvals import addressees, selectors, settings_services
from tests.factories.approvals import make_hold, make_holding_policy
from workspaces import tenancy
from workspaces.permissions import Role

PATH = "/api/workspace/firewall/settings"
HOOKS = "/api/workspace/firewall/approval-webhook"
CANARY = "whsec_Q0FOQVJZLWNhbmFyeS1DQU5BUlktY2FuYXJ5"
SLACK = "https://198.20.0.1/services/T000/B000/CANARYCANARYCANARY"
URL = "https://198.20.0.1/hooks?a=1"


def put(tenant, role=Role.ADMIN, **changes):
    return tenant.client(role).put(PATH, json.dumps(changes), content_type="application/json")


def secrets(tenant, at=None):
    with tenancy.scope(tenant.workspace.pk):
        return addressees.secrets_of(addressees.endpoint_of(tenant.workspace), at or timezone.now())


def test_the_documented_settings_are_set_and_read_as_one_object(acme):
    before = acme.client(Role.MEMBER).get(PATH).json()
    assert (before["observe_mode"], before["approval_ttl_seconds"], before["approval_use_ttl_seconds"], before["four_eyes"]) == (True, 86_400, 900, False)
    assert (before["approval_webhook_url"], before["approval_webhook_secret_set_at"], before["approval_reviews"]) == ("", None, [])
    answer = put(
        acme,
        observe_mode=False,
        approval_ttl_seconds=600,
        approval_use_ttl_seconds=60,
        four_eyes=True,
        approval_webhook_url=URL,
        approval_webhook_secret=CANARY,
    )
    assert answer.status_code == 200
    after = acme.client(Role.MEMBER).get(PATH).json()
    assert after == answer.json()
    assert (after["observe_mode"], after["approval_ttl_seconds"], after["four_eyes"], after["approval_webhook_url"]) == (False, 600, True, URL)
    assert after["approval_webhook_secret_set_at"] is not None
    assert set(after) == set(before)
    assert put(acme, run_gap_seconds=900).json()["approval_ttl_seconds"] == 600


@pytest.mark.parametrize("name", sorted(settings_services.GUARDED))
def test_what_opens_or_shuts_reviews_is_for_admins(acme, name):
    value = {"four_eyes": True, "approval_notify_reviewers": True, "approval_reviews": [], "approval_notify_emails": []}.get(name, "")
    value = 60 if name.endswith("seconds") else value
    assert put(acme, Role.DEVELOPER, **{name: value}).status_code == 403
    assert put(acme, Role.ADMIN, **{name: value}).status_code == 200
    assert put(acme, Role.DEVELOPER, approval_ttl_seconds=600).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://198.20.0.1/",
            "https://127.0.0.1/",
            "https://localhost/hook",
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/",
            "https://[::1]/",
        ),
        *(
            "https://0x7f000001/",
            "https://user:pass@example.com/",
            "ftp://example.com/",
            "example.com",
            "https://198.20.0.1/#a",
            "https://198.20.0.1/" + "a" * 600,
        ),
    ],
)
@pytest.mark.parametrize("name", ["approval_webhook_url", "approval_slack_url"])
def test_an_address_that_may_not_be_dialled_is_refused_before_it_is_stored(acme, name, url):
    answer = put(acme, **{name: url})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert acme.client(Role.MEMBER).get(PATH).json()["approval_webhook_url"] == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("approval_webhook_secret", bad) for bad in ("x" * 23, "x" * 256, "é" * 30, "x " * 20, 5, ["x" * 30])),
        *(("approval_ttl_seconds", bad) for bad in (59, 10**9, -1, 1.5, "600", True, None)),
        *(("approval_use_ttl_seconds", bad) for bad in (9, 86_401, "x")),
        *(("four_eyes", bad) for bad in (1, "true", None)),
        *(("approval_notify_emails", bad) for bad in ("a@b.example", ["a"], [1], [f"a{n}@b.example" for n in range(21)], ["a@b.example\nBcc: c@d.example"])),
        *(("approval_webhook_url", bad) for bad in (5, None, ["https://198.20.0.1"])),
        ("approval_webhook_secret_overlap_seconds", 10**9),
        ("approval_reviews", "all"),
    ],
)
def test_what_is_wrong_is_named(acme, name, value):
    answer = put(acme, **{name: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_review_plans_are_checked_against_the_workspace(acme, rival):
    policy = make_holding_policy(acme)
    admin, developer, member = (acme.person(role).pk for role in (Role.ADMIN, Role.DEVELOPER, Role.MEMBER))
    plans = [{"policy_id": None, "quorum": 2}, {"policy_id": policy.pk, "quorum": 1, "least_role": "admin", "reviewers": [admin]}]
    assert put(acme, approval_reviews=plans).status_code == 200
    with tenancy.scope(acme.workspace.pk):
        plan = selectors.review_plan_of(acme.workspace, policy.pk)
        assert (plan.quorum, plan.least_role, plan.reviewer_ids) == (1, Role.ADMIN, [admin])
        assert selectors.review_plan_of(acme.workspace, 0).quorum == 2
    for plan, param in (
        ({"policy_id": make_holding_policy(rival).pk}, "policy_id"),
        ({"reviewers": [rival.person(Role.ADMIN).pk]}, "reviewers"),
        ({"reviewers": [member]}, "reviewers"),
        ({"least_role": "admin", "reviewers": [developer]}, "reviewers"),
        ({"quorum": 0}, "quorum"),
        ({"quorum": 4}, "quorum"),
        ({"quorum": 2, "reviewers": [admin]}, "quorum"),
        ({"least_role": "member"}, "least_role"),
        ({"nonsense": 1}, "nonsense"),
        ({"policy_id": True}, "policy_id"),
        ({"reviewers": [admin, admin]}, "reviewers"),
    ):
        answer = put(acme, approval_reviews=[plan])
        assert (plan, answer.status_code, answer.json()["error"]["param"]) == (plan, 400, f"approval_reviews.0.{param}")
    assert put(acme, approval_reviews=[{}, {"policy_id": None}]).json()["error"]["param"] == "approval_reviews.1.policy_id"


def test_a_new_secret_leaves_the_one_before_it_valid_for_a_while(acme):
    other = CANARY[::-1]
    put(acme, approval_webhook_secret=CANARY)
    assert secrets(acme) == [CANARY]
    answer = put(acme, approval_webhook_secret=other)
    assert secrets(acme) == [other, CANARY]
    assert secrets(acme, timezone.now() + timedelta(hours=25)) == [other]
    assert answer.json()["approval_webhook_former_secret_until"] is not None
    put(acme, approval_webhook_secret=other)
    assert secrets(acme) == [other, CANARY]
    put(acme, approval_webhook_secret=CANARY, approval_webhook_secret_overlap_seconds=0)
    assert secrets(acme) == [CANARY]
    put(acme, approval_webhook_secret="")
    assert secrets(acme) == []
    with tenancy.scope(acme.workspace.pk):
        made = settings_services.rotate_secret(acme.workspace, overlap_seconds=60, actor=acme.person(Role.ADMIN), at=timezone.now())
        assert addressees.endpoint_of(acme.workspace).secret_set_by == acme.person(Role.ADMIN)
        settings_services.rotate_secret(acme.workspace, overlap_seconds=60, actor=acme.person(Role.OWNER), at=timezone.now())
        assert addressees.endpoint_of(acme.workspace).former_secret_set_by == acme.person(Role.ADMIN)
        assert made in secrets(acme)
        settings_services.end_overlap(acme.workspace, actor=acme.person(Role.ADMIN), at=timezone.now())
    assert made not in secrets(acme)


def test_no_secret_comes_out_again(acme):
    answers = [put(acme, approval_webhook_secret=CANARY, approval_slack_url=SLACK), acme.client(Role.OWNER).get(PATH)]
    answers.append(put(acme, approval_webhook_secret=CANARY[:-1] + "\n"))
    assert not any(secret in answer.text for answer in answers for secret in (CANARY, "CANARYCANARY"))
    assert answers[1].json()["approval_slack_url_set"] is True
    with tenancy.scope(acme.workspace.pk):
        entries = json.dumps(list(acme.workspace.audit_entries.filter(action="firewall_settings_update").values_list("payload", flat=True)))
        rows = repr(list(acme.workspace.approval_settings.__dict__.values()) + list(addressees.endpoint_of(acme.workspace).__dict__.values()))
    assert '"approval_webhook_secret": "replaced"' in entries
    assert not any(secret in text for text in (entries, rows) for secret in (CANARY, "CANARYCANARY"))


def test_the_log_of_what_was_sent_shows_attempts_and_sends_again(acme):
    put(acme, approval_webhook_url=URL, approval_webhook_secret=CANARY)
    hold = make_hold(make_holding_policy(acme))
    (row,) = acme.client(Role.DEVELOPER).get(f"{HOOKS}/deliveries", {"approval_id": hold.pk}).json()["results"]
    assert (row["event"], row["state"], row["attempts_left"], row["approval_id"]) == ("firewall.approval.pending", "pending", 8, hold.pk)
    assert acme.client(Role.DEVELOPER).get(f"{HOOKS}/deliveries", {"state": "failed"}).json()["results"] == []
    assert acme.client(Role.DEVELOPER).get(f"{HOOKS}/deliveries", {"state": "x"}).json()["error"]["param"] == "state"
    with tenancy.scope(acme.workspace.pk):
        delivery = acme.workspace.deliveries.get(pk=row["id"])
        delivery.attempts.create(workspace=acme.workspace, number=1, started_at=timezone.now(), status=500, latency_ms=12, error="The receiver answered 500.")
        acme.workspace.deliveries.update(state="failed", attempts_left=0)
    shown = acme.client(Role.DEVELOPER).get(f"{HOOKS}/deliveries/{row['id']}").json()
    assert [(each["number"], each["status"], each["latency_ms"]) for each in shown["attempts"]] == [(1, 500, 12)]
    again = acme.client(Role.ADMIN).post(f"{HOOKS}/deliveries/{row['id']}/resend")
    assert (again.status_code, again.json()["state"], again.json()["attempts_left"], again.json()["message_id"]) == (202, "pending", 1, row["message_id"])
    test = acme.client(Role.ADMIN).post(f"{HOOKS}/test")
    assert (test.status_code, test.json()["event"]) == (202, "firewall.approval.test")


def test_a_paused_webhook_goes_on_when_it_is_told_to_or_gets_another_address(acme):
    put(acme, approval_webhook_url=URL)
    for mend in (lambda: acme.client(Role.ADMIN).post(f"{HOOKS}/resume"), lambda: put(acme, approval_webhook_url=f"{URL}&b=2")):
        with tenancy.scope(acme.workspace.pk):
            addressees.endpoints(acme.workspace).update(paused_at=timezone.now(), failing_since=timezone.now())
        assert acme.client(Role.MEMBER).get(PATH).json()["approval_webhook_paused_at"] is not None
        assert mend().status_code < 300
        assert acme.client(Role.MEMBER).get(PATH).json()["approval_webhook_paused_at"] is None
    assert acme.client(Role.ADMIN).post(f"{HOOKS}/resume").status_code == 409


def test_taking_the_address_away_stops_what_waits(acme):
    put(acme, approval_webhook_url=URL)
    make_hold(make_holding_policy(acme))
    put(acme, approval_webhook_url="")
    (row,) = acme.client(Role.DEVELOPER).get(f"{HOOKS}/deliveries").json()["results"]
    assert row["state"] == "stopped"
    assert acme.client(Role.ADMIN).post(f"{HOOKS}/test").status_code == 409
