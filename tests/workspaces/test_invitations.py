"""Invitations: one address, one use, seven days; and every way to misuse a link."""

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from tests.factories.workspaces import PASSWORD, UserFactory
from workspaces import tenancy
from workspaces.models import User
from workspaces.permissions import Role

INVITATIONS = "/api/workspace/invitations/"
NEW = {"name": "Nia", "password": "a rather long passphrase"}


def invite(acme, email="nia@example.com", role="developer", actor=Role.ADMIN):
    return acme.client(actor).post(INVITATIONS, {"email": email, "role": role}, content_type="application/json")


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def is_member(acme, email: str) -> bool:
    with tenancy.scope(acme.workspace.pk):
        return acme.workspace.memberships.filter(user__email=email).exists()


def test_a_new_person_joins_with_a_password_and_is_signed_in(acme):
    answer = invite(acme)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    newcomer, link = Client(), path_of(answer.json()["link"])
    assert "nia@example.com" in newcomer.get(link).content.decode()
    assert newcomer.post(link, NEW).status_code == 302
    mine = newcomer.get("/api/workspaces/").json()["results"]
    assert [(row["id"], row["role"]) for row in mine] == [(acme.workspace.pk, "developer")]
    assert Client().login(email="nia@example.com", password=NEW["password"])


def test_somebody_with_an_account_signs_in_first_and_joins_as_themselves(acme, rival):
    link = path_of(invite(acme, email="member@rival.example").json()["link"])
    stranger = Client()
    assert "Sign in to join" in stranger.get(link).content.decode()
    assert stranger.post(link, NEW).status_code == 200
    assert not is_member(acme, "member@rival.example")
    theirs = rival.client(Role.MEMBER)
    assert theirs.post(link).status_code == 302
    assert {row["name"] for row in theirs.get("/api/workspaces/").json()["results"]} == {"acme", "rival"}


def test_a_link_opens_for_the_invited_address_alone(acme, rival):
    link = path_of(invite(acme).json()["link"])
    other = rival.client(Role.OWNER)
    assert other.post(link, NEW).status_code == 200
    assert not is_member(acme, "owner@rival.example")
    assert Client().post(link, NEW).status_code == 302


def test_a_link_works_once(acme):
    link = path_of(invite(acme).json()["link"])
    assert Client().post(link, NEW).status_code == 302
    assert Client().get(link).status_code == 404
    assert Client().post(link, NEW).status_code == 404
    assert User.objects.filter(email="nia@example.com").count() == 1


def test_a_link_ends_after_seven_days(acme):
    link = path_of(invite(acme).json()["link"])
    with time_machine.travel(timezone.now() + timedelta(days=6, hours=23), tick=False):
        assert Client().get(link).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(days=7, seconds=1), tick=False):
        assert Client().post(link, NEW).status_code == 404
    assert not is_member(acme, "nia@example.com")


def test_a_revoked_a_replaced_and_an_invented_link_open_nothing(acme):
    first = invite(acme).json()
    second = invite(acme).json()
    assert Client().get(path_of(first["link"])).status_code == 404
    assert acme.client(Role.ADMIN).delete(f"{INVITATIONS}{second['id']}/").status_code == 204
    assert Client().get(path_of(second["link"])).status_code == 404
    assert acme.client(Role.ADMIN).delete(f"{INVITATIONS}{second['id']}/").status_code == 404
    assert Client().get("/invitation/orca-inv-" + "a" * 40 + "/").status_code == 404


def test_an_admin_neither_ends_nor_replaces_the_invitation_of_an_owner(acme):
    made = invite(acme, role="owner", actor=Role.OWNER).json()
    assert acme.client(Role.ADMIN).delete(f"{INVITATIONS}{made['id']}/").status_code == 403
    assert invite(acme, role="member").status_code == 403
    assert Client().get(path_of(made["link"])).status_code == 200
    assert acme.client(Role.OWNER).delete(f"{INVITATIONS}{made['id']}/").status_code == 204


def test_what_ends_along_with_a_change_is_in_its_entry(acme):
    first, second = invite(acme).json()["id"], invite(acme).json()["id"]
    acme.token(Role.ADMIN)
    acme.client(Role.OWNER).delete(f"/api/workspace/members/{acme.membership(Role.ADMIN).pk}/")
    with tenancy.scope(acme.workspace.pk):
        token = acme.workspace.access_tokens.get().pk
        entries = dict(acme.workspace.audit_entries.order_by("sequence").values_list("action", "payload"))
    assert entries["invitation_create"]["invitations_revoked"] == [first]
    assert (entries["member_remove"]["invitations_revoked"], entries["member_remove"]["access_tokens_revoked"]) == ([second], [token])


@pytest.mark.parametrize(("actor", "role", "status"), [(Role.ADMIN, "owner", 403), (Role.OWNER, "owner", 201), (Role.DEVELOPER, "member", 403)])
def test_nobody_invites_above_their_own_role(acme, actor, role, status):
    assert invite(acme, role=role, actor=actor).status_code == status


@pytest.mark.parametrize("ends", ["demoted", "removed"])
def test_an_invitation_is_worth_no_more_than_who_made_it(acme, ends):
    link = path_of(invite(acme, role="admin").json()["link"])
    address, owner = f"/api/workspace/members/{acme.membership(Role.ADMIN).pk}/", acme.client(Role.OWNER)
    if ends == "demoted":
        owner.patch(address, {"role": "developer"}, content_type="application/json")
    else:
        owner.delete(address)
    assert Client().post(link, NEW).status_code == 404


def test_a_member_is_not_invited_again_and_a_weak_password_makes_no_account(acme):
    assert invite(acme, email="Member@acme.example").status_code == 409
    link = path_of(invite(acme).json()["link"])
    assert Client().post(link, NEW | {"password": "short"}).status_code == 200
    assert not User.objects.filter(email="nia@example.com").exists()


def test_another_workspaces_invitation_is_missing(acme, rival):
    made = invite(rival).json()["id"]
    assert acme.client(Role.OWNER).get(f"{INVITATIONS}{made}/").status_code == 404
    assert acme.client(Role.OWNER).delete(f"{INVITATIONS}{made}/").status_code == 404


def test_nobody_takes_an_address_on_by_typing_it(acme):
    UserFactory.create(email="mallory@example.com")
    mallory = Client()
    assert mallory.login(email="mallory@example.com", password=PASSWORD)
    for address in ("/account/email/", "/account/signup/"):
        assert mallory.post(address, {"email": "nia@example.com", "action_add": "", "password1": NEW["password"]}).status_code == 404
    assert not User.objects.filter(email="nia@example.com").exists()
