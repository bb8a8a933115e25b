"""Members and roles, over HTTP: who may change whom, and that a workspace keeps an owner whoever races."""

from threading import Barrier, Thread

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from tests.factories.workspaces import make_tenant
from workspaces import services, tenancy
from workspaces.errors import Conflict, OrcaError
from workspaces.permissions import Role

MEMBERS = "/api/workspace/members/"


def set_role(acme, actor: Role, subject: Role, word: str):
    address = f"{MEMBERS}{acme.membership(subject).pk}/"
    return acme.client(actor).patch(address, {"role": word}, content_type="application/json")


def test_everyone_sees_the_members_and_only_theirs(acme, rival):
    for role in Role:
        found = acme.client(role).get(MEMBERS).json()["results"]
        assert {row["email"] for row in found} == {person.email for person in acme.people.values()}


@pytest.mark.parametrize(
    ("actor", "subject", "word", "status"),
    [
        (Role.ADMIN, Role.MEMBER, "developer", 200),
        (Role.ADMIN, Role.DEVELOPER, "admin", 200),
        (Role.ADMIN, Role.MEMBER, "owner", 403),
        (Role.ADMIN, Role.ADMIN, "owner", 403),
        (Role.ADMIN, Role.OWNER, "member", 403),
        (Role.OWNER, Role.MEMBER, "owner", 200),
        (Role.OWNER, Role.OWNER, "admin", 409),
        (Role.DEVELOPER, Role.MEMBER, "developer", 403),
        (Role.MEMBER, Role.MEMBER, "owner", 403),
        (Role.OWNER, Role.MEMBER, "emperor", 400),
    ],
)
def test_a_role_is_given_by_those_who_have_it(acme, actor, subject, word, status):
    answer = set_role(acme, actor, subject, word)
    assert answer.status_code == status, answer.json()
    assert acme.membership(subject).role == (Role[word.upper()] if status == 200 else subject)


@pytest.mark.parametrize(("actor", "subject", "status"), [(Role.ADMIN, Role.OWNER, 403), (Role.ADMIN, Role.DEVELOPER, 204), (Role.OWNER, Role.OWNER, 409)])
def test_removal_keeps_to_the_same_rules(acme, actor, subject, status):
    answer = acme.client(actor).delete(f"{MEMBERS}{acme.membership(subject).pk}/")
    assert answer.status_code == status
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.memberships.filter(user=acme.person(subject)).exists() is (status != 204)


def test_demotion_and_removal_act_on_the_next_request(acme):
    client, token = acme.client(Role.ADMIN), acme.token(Role.ADMIN)
    bearer = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/workspace/invitations/").status_code == 200
    assert acme.client(Role.OWNER).get("/api/workspace/", headers=bearer).status_code == 200
    set_role(acme, Role.OWNER, Role.ADMIN, "developer")
    assert client.get("/api/workspace/invitations/").status_code == 403
    assert client.get("/api/workspace/invitations/", headers=bearer).status_code == 403
    acme.client(Role.OWNER).delete(f"{MEMBERS}{acme.membership(Role.ADMIN).pk}/")
    assert client.get("/api/workspace/").status_code == 404
    assert client.get("/api/workspace/", headers=bearer).status_code == 401


def test_another_workspaces_member_is_as_missing_as_none(acme, rival):
    theirs, client = rival.membership(Role.MEMBER).pk, acme.client(Role.OWNER)
    for address in (f"{MEMBERS}{theirs}/", f"{MEMBERS}999999999/"):
        for answer in (client.get(address), client.patch(address, {"role": "admin"}, content_type="application/json"), client.delete(address)):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert rival.membership(Role.MEMBER).role == Role.MEMBER
    assert client.get(f"{MEMBERS}abc/").status_code == 400
    assert client.get(MEMBERS, headers={"X-Workspace-Id": str(rival.workspace.pk)}).status_code == 404


def test_an_unknown_field_or_parameter_is_named(acme):
    client, address = acme.client(Role.OWNER), f"{MEMBERS}{acme.membership(Role.MEMBER).pk}/"
    answer = client.patch(address, {"role": "admin", "is_root": True}, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "is_root")
    answer = client.get(MEMBERS + "?order=asc")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "order")


def test_the_list_is_paged_by_keyset(acme):
    client, seen, address = acme.client(Role.MEMBER), [], MEMBERS + "?limit=3"
    first = client.get(address).json()
    while address:
        page = client.get(address).json()
        seen += [row["id"] for row in page["results"]]
        address = page["next"]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(Role)
    back = client.get(client.get(first["next"]).json()["previous"]).json()
    assert back["results"] == first["results"]


def test_a_workspace_is_renamed_by_admins_and_shows_in_everyones_list(acme, rival):
    body = {"name": "Acme Ltd"}
    assert acme.client(Role.DEVELOPER).patch("/api/workspace/", body, content_type="application/json").status_code == 403
    assert acme.client(Role.ADMIN).put("/api/workspace/", body, content_type="application/json").json()["name"] == "Acme Ltd"
    assert [row["name"] for row in acme.client(Role.MEMBER).get("/api/workspaces/").json()["results"]] == ["Acme Ltd"]


@pytest.mark.parametrize("end", ["demote", "remove"])
def test_two_owners_who_leave_at_once_cannot_both(committed, end):
    """Real threads, each with its connection: the second waits for the first and then finds itself the last owner."""
    acme, at = make_tenant(), timezone.now()
    with tenancy.scope(acme.workspace.pk):
        services.change_role(acme.membership(Role.ADMIN), role=Role.OWNER, actor=acme.person(Role.OWNER), at=at)
    barrier, refused = Barrier(2), []

    def leave(person: Role) -> None:
        membership = acme.membership(person)
        barrier.wait(timeout=60)
        try:
            with tenancy.scope(acme.workspace.pk):
                if end == "demote":
                    services.change_role(membership, role=Role.MEMBER, actor=membership.user, at=at)
                else:
                    services.remove_member(membership, actor=membership.user, at=at)
        except OrcaError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [Thread(target=leave, args=[person]) for person in (Role.OWNER, Role.ADMIN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert [type(error) for error in refused] == [Conflict]
    with tenancy.scope(acme.workspace.pk):
        assert acme.workspace.memberships.filter(role=Role.OWNER).count() == 1


def test_the_database_keeps_an_owner_even_from_code_that_forgets(committed):
    acme = make_tenant()
    for change in (lambda rows: rows.update(role=Role.MEMBER), lambda rows: rows.delete()):
        with pytest.raises(DatabaseError, match="no owner"), transaction.atomic(), tenancy.scope(acme.workspace.pk):
            change(acme.workspace.memberships.filter(role=Role.OWNER))
    assert acme.membership(Role.OWNER).role == Role.OWNER
