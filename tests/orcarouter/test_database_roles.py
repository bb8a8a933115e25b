"""A start under a role that the second wall does not bind is refused, in one line that names the setting."""

import pytest

from orcarouter import embedded
from orcarouter.database_roles import refuse_privileged
from orcarouter.supervision import StartRefused
from tests.environment import DATA_DIR


def test_the_roles_of_the_product_may_start(committed):
    refuse_privileged()


@pytest.mark.parametrize(
    ("name", "role", "told"),
    [
        ("DATABASE_URL", "orca_owner", "an owner of the tables"),
        ("DATABASE_RECORDER_URL", "orca_owner", "an owner of the tables"),
        ("DATABASE_RECORDER_URL", "orca_app", "allowed to read events"),
        ("DATABASE_RECORDER_URL", None, "is missing"),
        ("DATABASE_URL", "nobody", "PostgreSQL refused"),
    ],
)
def test_any_other_role_is_refused(name, role, told, committed, settings):
    sockets = embedded.urls(DATA_DIR).sockets
    setattr(settings, name, embedded.database_url(role, sockets) if role else "")
    with pytest.raises(StartRefused) as refused:
        refuse_privileged()
    assert str(refused.value).startswith(name)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
