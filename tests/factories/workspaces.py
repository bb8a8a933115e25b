"""People, workspaces with one person of each role, and credentials of theirs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import factory
from django.contrib.auth.hashers import make_password
from django.test import Client
from django.utils import timezone

from workspaces import services, tenancy
from workspaces.models import AccessToken, Membership, User, Workspace
from workspaces.permissions import Role

PASSWORD = "correct horse battery staple"
_numbers = count(1)
#: Hashed once: the hash is slow on purpose.
_HASH = make_password(PASSWORD, hasher="pbkdf2_sha256")


class UserFactory(factory.django.DjangoModelFactory[User]):
    """A person with ``PASSWORD``."""

    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"person{n}@example.com")
    password = _HASH


@dataclass(frozen=True)
class Tenant:
    """A workspace and who is in it."""

    workspace: Workspace
    people: dict[Role, User]

    def person(self, role: Role) -> User:
        return self.people[role]

    def membership(self, role: Role) -> Membership:
        with tenancy.scope(self.workspace.pk):
            return self.workspace.memberships.select_related("user", "workspace").get(user=self.people[role])

    def client(self, role: Role) -> Client:
        """A browser where the person of this role is signed in."""
        client = Client()
        client.force_login(self.people[role])
        return client

    def token(self, role: Role, *scopes: str, at: datetime | None = None) -> str:
        """An access token of that person, with every scope unless told otherwise."""
        at = at or timezone.now()
        with tenancy.scope(self.workspace.pk):
            made = services.create_access_token(
                self.workspace, user=self.people[role], name="test", scopes=list(scopes or AccessToken.Scope.values), expires_at=at + timedelta(days=30), at=at
            )
        return made[1]


def make_tenant(name: str = "") -> Tenant:
    """A workspace ``name`` with ``owner@name.example``, ``admin@...``, ``developer@...`` and ``member@...``.

    Without a name it gets one that no other has, for tests whose commits stay.
    """
    name = name or f"tenant{next(_numbers)}"
    people = {role: UserFactory.create(email=f"{role.label.lower()}@{name}.example", name=f"{role.label} of {name}") for role in Role}
    workspace = services.create_workspace(name=name, owner=people[Role.OWNER], at=timezone.now())
    with tenancy.scope(workspace.pk):
        for role in Role:
            if role != Role.OWNER:
                workspace.memberships.create(user=people[role], role=role)
    return Tenant(workspace, people)
