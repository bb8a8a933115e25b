"""Policies as the services make them, and events as the recorder writes them: inserted by its own role, committed at once."""

from datetime import datetime
from uuid import UUID

import factory
import psycopg
from django.db import connections, models
from django.utils import timezone

from firewall import services
from firewall.models import Event, Policy
from workspaces import tenancy
from workspaces.ids import lowest_at, moment_of, uuid7
from workspaces.models import User, Workspace


def make_policy(workspace: Workspace, actor: User, *rules: dict, name: str = "agents", **fields: object) -> Policy:
    """A policy with these rules. ``make_policy(workspace, user, {"verdict": "allow", "tool_name_glob": "kb.*"}, default_verdict="deny")``"""
    with tenancy.scope(workspace.pk):
        return services.create_policy(workspace, fields={"name": name} | fields, rules=rules, actor=actor, at=timezone.now())


def id_at(at: datetime) -> UUID:
    """A new id of that moment."""
    return UUID(int=lowest_at(at).int | uuid7().int & (1 << 80) - 1)


class Recorded(factory.Factory):
    """Rows of a record table, written the way the gateway does: by the role that may insert and nothing else."""

    class Meta:
        abstract = True

    class Params:
        #: When it happened; the row's id is of that moment.
        at = factory.LazyFunction(timezone.now)

    id = factory.LazyAttribute(lambda row: id_at(row.at))
    occurred_at = factory.LazyAttribute(lambda row: moment_of(row.id))

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        row = model_class(*args, **kwargs)
        record(row)
        return row


def record(*rows: models.Model) -> None:
    """Write rows of one table, many at once as the recorder's batches are: ``record(*EventFactory.build_batch(500, workspace=...))``."""
    fields = rows[0]._meta.concrete_fields
    columns = ", ".join(field.column for field in fields)
    insert = f"INSERT INTO {rows[0]._meta.db_table} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"
    with recorder() as connection:
        connection.cursor().executemany(insert, [[getattr(row, field.attname) for field in fields] for row in rows])


def recorder() -> psycopg.Connection:
    """A connection of the recorder's role to the database that the tests use."""
    known = connections["default"].settings_dict
    return psycopg.connect(host=known["HOST"], port=known["PORT"] or None, dbname=known["NAME"], user="orca_recorder", autocommit=True)


class EventFactory(Recorded):
    """One decision; ``tools=[...]`` with ``tool_name=None`` for the tools of one request that were let through."""

    class Meta:
        model = Event

    source = "relay"
    surface = "response"
    verdict = "allow"
    tool_name = "web.search"
    reason = "matched web.search"
    policy_name = "agents"
    request_id = factory.LazyAttribute(lambda row: f"req_{row.id.hex}")
    agent_run_id = "run-1"
    run_source = "header"
    key_id = 1
    token_name = "research"
    model_name = "demo/small"
