"""The settings page and the log of what was sent, as a person uses them."""

import re

import pytest
from django.utils import timezone

from approvals import addressees, dispatch, selectors
from approvals.models import Delivery
from tests.approvals.test_settings_api import CANARY, SLACK, URL, put, secrets
from tests.factories.approvals import make_hold, make_holding_policy
from workspaces import tenancy
from workspaces.paging import PAGE_SIZE
from workspaces.permissions import Role

PAGE, ACT = "/settings/", "/settings/webhook/"


def send(tenant, role=Role.ADMIN, path=PAGE, **fields):
    return tenant.client(role).post(path, fields)


def settings(tenant):
    return tenant.client(Role.MEMBER).get("/api/workspace/firewall/settings").json()


def test_each_part_is_saved_by_itself(acme):
    assert send(acme, Role.DEVELOPER, part="holds", approval_ttl_seconds=600, approval_use_ttl_seconds=60).status_code == 302
    assert "leave no events from then on" in send(acme, Role.DEVELOPER, part="recording", run_gap_seconds=600).text
    assert send(acme, Role.DEVELOPER, part="recording", run_gap_seconds=600, confirmed="yes").status_code == 302
    assert send(acme, part="eyes", four_eyes="on").status_code == 302
    assert send(acme, part="webhook", approval_webhook_url=URL, approval_webhook_secret=CANARY).status_code == 302
    emails = "a@acme.example\n\n b@acme.example "
    assert send(acme, part="notices", approval_notify_reviewers="on", approval_notify_emails=emails, approval_slack_url=SLACK).status_code == 302
    found = settings(acme)
    assert found["run_gap_seconds"] == 600
    assert (found["approval_ttl_seconds"], found["observe_mode"], found["four_eyes"], found["approval_webhook_url"]) == (600, False, True, URL)
    assert (found["approval_notify_emails"], found["approval_slack_url_set"]) == (["a@acme.example", "b@acme.example"], True)
    assert send(acme, part="webhook", approval_webhook_url=URL).status_code == 302
    assert secrets(acme) == [CANARY]
    assert send(acme, part="notices", forget_slack="on").status_code == 302
    assert (settings(acme)["approval_slack_url_set"], settings(acme)["approval_notify_reviewers"]) == (False, False)
    page = acme.client(Role.OWNER).get(PAGE).text
    assert not any(secret in page for secret in (CANARY, "CANARYCANARY"))


@pytest.mark.parametrize("part", ["eyes", "plan", "webhook", "notices"])
def test_a_developer_sees_and_does_not_save_what_is_for_admins(acme, part):
    assert acme.client(Role.DEVELOPER).get(PAGE).status_code == 200
    assert send(acme, Role.DEVELOPER, part=part, quorum=1, least_role="developer").status_code == 403
    assert send(acme, Role.MEMBER, part="holds", approval_ttl_seconds=600, approval_use_ttl_seconds=60).status_code == 403


def test_what_is_wrong_is_said_at_its_field_and_nothing_is_saved(acme):
    for fields, words in (
        ({"part": "webhook", "approval_webhook_url": "https://127.0.0.1/"}, "loopback|private|public"),
        ({"part": "webhook", "approval_webhook_url": URL, "approval_webhook_secret": "short"}, "24 to 255"),
        ({"part": "holds", "approval_ttl_seconds": 1, "approval_use_ttl_seconds": 60}, "from 60 to"),
        ({"part": "recording", "observe_mode": "on", "run_gap_seconds": 5}, "from 60 to 86400"),
        ({"part": "plan", "quorum": 9, "least_role": "developer"}, "fewer than the quorum"),
        ({"part": "notices", "approval_notify_emails": "nobody"}, "e-mail addresses"),
    ):
        answer = send(acme, **fields)
        assert answer.status_code == 422
        assert any(word in answer.text for word in words.split("|")), fields
    assert send(acme, part="nonsense").status_code == 400
    assert settings(acme)["approval_webhook_url"] == ""


def test_loosening_asks_first(acme):
    policy = make_holding_policy(acme)
    assert send(acme, part="eyes", four_eyes="on").status_code == 302
    assert send(acme, part="plan", policy=policy.pk, quorum=2, least_role="developer").status_code == 302
    asked = send(acme, part="eyes")
    assert "Loosen the review" in asked.text
    assert settings(acme)["four_eyes"] is True
    assert send(acme, part="eyes", confirmed="yes").status_code == 302
    assert settings(acme)["four_eyes"] is False
    assert "1 instead of 2" in send(acme, part="plan", policy=policy.pk, quorum=1, least_role="developer").text
    assert settings(acme)["approval_reviews"][0]["quorum"] == 2
    assert send(acme, part="plan", policy=policy.pk, quorum=1, least_role="developer", confirmed="yes").status_code == 302
    assert send(acme, part="plan", quorum=2, least_role="admin").status_code == 302
    with tenancy.scope(acme.workspace.pk):
        assert (selectors.review_plan_of(acme.workspace, policy.pk).quorum, selectors.review_plan_of(acme.workspace, 0).quorum) == (1, 2)
    assert "Remove this plan?" in send(acme, path="/settings/plan/remove/", policy=policy.pk).text
    assert send(acme, path="/settings/plan/remove/", policy=policy.pk, confirmed="yes").status_code == 302
    assert [plan["policy_id"] for plan in settings(acme)["approval_reviews"]] == [None]


def test_a_new_secret_is_shown_once_and_the_old_one_can_be_ended(acme):
    put(acme, approval_webhook_secret=CANARY)
    shown = send(acme, path=ACT, do="rotate")
    made = secrets(acme)[0]
    assert (shown.status_code, made in shown.text, secrets(acme)[1]) == (200, True, CANARY)
    assert shown["Cache-Control"].count("no-store") == 1
    assert made not in acme.client(Role.OWNER).get(PAGE).text
    assert send(acme, path=ACT, do="retire").status_code == 302
    assert secrets(acme) == [made]
    assert send(acme, path=ACT, do="nonsense").status_code == 400


def test_a_test_event_leads_to_what_comes_of_it_and_is_sent_again(acme):
    assert send(acme, path=ACT, do="test")["Location"] == PAGE
    put(acme, approval_webhook_url=URL)
    place = send(acme, path=ACT, do="test")["Location"]
    page = acme.client(Role.DEVELOPER).get(place)
    assert "firewall.approval.test" in page.text
    assert 'hx-trigger="load delay:2s"' in page.text
    with tenancy.scope(acme.workspace.pk):
        delivery = acme.workspace.deliveries.get()
    parcel = next(parcel for parcel in dispatch.claim(timezone.now()) if parcel.workspace_id == acme.workspace.pk)
    dispatch.finish(parcel, dispatch.Outcome(503, 40, "The receiver answered 503.", "<b>busy</b>"), at=timezone.now())
    part = acme.client(Role.DEVELOPER).get(place, headers={"HX-Request": "true"})
    assert ("The receiver answered 503." in part.text, "&lt;b&gt;busy" in part.text, "<html" in part.text) == (True, True, False)
    assert send(acme, Role.DEVELOPER, path=place).status_code == 403
    assert send(acme, path=place).status_code == 302
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts_left) == ("pending", 1)


def test_a_paused_webhook_is_said_and_resumed(acme):
    put(acme, approval_webhook_url=URL)
    with tenancy.scope(acme.workspace.pk):
        addressees.endpoints(acme.workspace).update(paused_at=timezone.now(), failing_since=timezone.now())
    assert "The webhook is paused." in acme.client(Role.MEMBER).get(PAGE).text
    assert send(acme, path=ACT, do="resume").status_code == 302
    assert "The webhook is paused." not in acme.client(Role.MEMBER).get(PAGE).text


def test_the_log_is_paged_and_says_what_was_not_needed(acme):
    put(acme, approval_webhook_url=URL)
    hold = make_hold(make_holding_policy(acme))
    put(acme, approval_webhook_url="")
    sent = {"workspace": acme.workspace, "channel": "webhook", "event": "firewall.approval.test", "attempts_left": 0, "due_at": timezone.now()}
    acme.workspace.deliveries.bulk_create(Delivery(message_id=f"msg_{acme.workspace.pk}.{number}", **sent) for number in range(PAGE_SIZE))
    client = acme.client(Role.DEVELOPER)
    newest = client.get("/settings/deliveries/").text
    (next_page,) = re.findall('href="([^"]+)" rel="next"', newest)
    older = client.get(f"/settings/deliveries/{next_page}").text
    assert ("Not needed any more" in newest, hold.pk in newest, "Not needed any more" in older, hold.pk in older) == (False, False, True, True)
    assert client.get("/settings/deliveries/?cursor=x").status_code == 400
