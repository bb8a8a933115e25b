"""The console's pages of people and workspaces, as a browser without scripts would use them."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from workspaces import services, tenancy
from workspaces.permissions import Role


def told(client: Client, page: str = "/members/") -> str:
    return client.get(page).content.decode()


@pytest.mark.parametrize(
    ("page", "least"),
    [("/members/", Role.MEMBER), ("/access-tokens/", Role.MEMBER), ("/profile/", Role.MEMBER), ("/audit/", Role.DEVELOPER)],
)
def test_each_page_opens_for_its_role_and_leads_others_to_the_sign_in(acme, page, least):
    for role in Role:
        assert acme.client(role).get(page).status_code == (200 if role >= least else 403)
    assert Client().get(page).headers["Location"].startswith("/account/login/?next=")


def test_an_admin_invites_and_the_link_is_shown_this_once(acme):
    admin = acme.client(Role.ADMIN)
    answer = admin.post("/members/invite/", {"email": "nia@example.com", "role": Role.DEVELOPER.value})
    link = re.search(r"http://testserver(/invitation/orca-inv-\w{40}/)", answer.content.decode())
    assert link
    assert "no-store" in answer.headers["Cache-Control"]
    later = told(admin)
    assert "nia@example.com" in later
    assert link[1] not in later
    assert Client().get(link[1]).status_code == 200


def test_buttons_a_role_may_not_press_are_hidden_and_refused(acme):
    assert "Make an invitation link" in told(acme.client(Role.ADMIN))
    assert "Make an invitation link" not in told(acme.client(Role.DEVELOPER))
    pk = acme.membership(Role.MEMBER).pk
    developer = acme.client(Role.DEVELOPER)
    for address, body in [
        ("/members/invite/", {"email": "a@example.com", "role": 1}),
        (f"/members/{pk}/role/", {"role": 2}),
        (f"/members/{pk}/remove/", {}),
        ("/workspace/rename/", {"name": "x"}),
    ]:
        assert developer.post(address, body).status_code == 403, address
    assert acme.membership(Role.MEMBER).role == Role.MEMBER


def test_a_refused_change_is_said_on_the_page(acme):
    owner = acme.client(Role.OWNER)
    owner.post(f"/members/{acme.membership(Role.OWNER).pk}/role/", {"role": 1})
    assert "keeps at least one owner" in told(owner)
    answer = owner.post("/members/invite/", {"email": "member@acme.example", "role": 1})
    assert (answer.status_code, "a member already" in answer.content.decode()) == (422, True)


def test_a_role_is_changed_and_a_member_removed(acme):
    admin, pk = acme.client(Role.ADMIN), acme.membership(Role.MEMBER).pk
    admin.post(f"/members/{pk}/role/", {"role": Role.DEVELOPER.value})
    assert acme.membership(Role.MEMBER).role == Role.DEVELOPER
    admin.post(f"/members/{pk}/remove/")
    page = told(admin)
    assert "is no longer a member" in page
    assert "member@acme.example" not in page


def test_another_workspaces_rows_are_missing(acme, rival):
    with tenancy.scope(rival.workspace.pk):
        theirs, _ = services.invite(rival.workspace, email="a@example.com", role=Role.MEMBER, actor=rival.person(Role.OWNER), at=timezone.now())
    pk, owner = rival.membership(Role.MEMBER).pk, acme.client(Role.OWNER)
    for address in (f"/members/{pk}/role/", f"/members/{pk}/remove/", f"/invitations/{theirs.pk}/revoke/", "/access-tokens/999999/revoke/"):
        assert owner.post(address, {"role": 1}).status_code == 404, address
    assert owner.post("/workspace/switch/", {"workspace": rival.workspace.pk}).status_code == 404


def test_a_person_of_two_workspaces_switches_between_them(acme, rival):
    with tenancy.scope(rival.workspace.pk):
        rival.workspace.memberships.create(user=acme.person(Role.MEMBER), role=Role.ADMIN)
    client = acme.client(Role.MEMBER)
    assert "owner@acme.example" in told(client)
    assert client.post("/workspace/switch/", {"workspace": rival.workspace.pk}).status_code == 302
    page = told(client)
    assert "owner@rival.example" in page
    assert "owner@acme.example" not in page


def test_who_leaves_is_out(acme):
    client = acme.client(Role.DEVELOPER)
    assert client.post("/workspace/leave/").status_code == 302
    assert client.get("/members/").status_code == 404


def test_a_token_is_made_shown_once_and_revoked(acme):
    client = acme.client(Role.DEVELOPER)
    answer = client.post("/access-tokens/new/", {"name": "export", "days": "30", "scopes": ["read"]}).content.decode()
    token = re.search(r"orca-pat-\w{40}", answer)
    assert token
    later = told(client, "/access-tokens/")
    assert token[0] not in later
    revoke = re.search(r"/access-tokens/\d+/revoke/", later)
    assert revoke
    assert client.post(revoke[0]).status_code == 302
    assert "No access token yet" in told(client, "/access-tokens/")
    assert client.post("/access-tokens/new/", {"name": "x", "days": "3650", "scopes": ["read"]}).status_code == 422


def test_the_audit_log_is_filtered_and_paged(acme):
    with tenancy.scope(acme.workspace.pk):
        for n in range(60):
            services.rename_workspace(acme.workspace, name=f"<b>{n}", actor=acme.person(Role.OWNER), at=timezone.now())
    client = acme.client(Role.ADMIN)
    page = told(client, "/audit/")
    assert "<b>59" not in page
    older = re.search(r'href="(\?cursor=[^"]+)" rel="next"', page)
    assert older
    assert "workspace_create" in told(client, "/audit/" + older[1])
    filtered = client.get("/audit/", {"action": "workspace_create"}).content.decode()
    assert filtered.count("<tr>") == 2
    assert "No entry matches" in told(client, "/audit/?actor=nobody@example.com")
    assert client.get("/audit/?cursor=nonsense").status_code == 400


def test_a_name_is_saved_and_shown(acme):
    client = acme.client(Role.MEMBER)
    client.post("/profile/", {"name": "Ada <i>"})
    assert "Ada &lt;i&gt;" in told(client)
