"""What the pages of keys share: a key as a row, and what it may do, for comparing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from firewall.engine.decide import resolve
from firewall.models import Policy
from keys import money_selectors, selectors, services
from keys.engine import words
from keys.engine.scope import Status, status
from keys.gauges import Gauge, gauges_of, own_limits
from keys.models import ApiKey
from workspaces import errors
from workspaces.console_base import ConsoleRequest
from workspaces.params import row_id


@dataclass(frozen=True)
class Row:
    """One key of the list."""

    key: ApiKey
    mask: str
    status: Status
    last_used_at: datetime | None
    week: selectors.KeyUse
    gates: tuple[words.Gate, ...]
    gauges: tuple[Gauge, ...]

    @property
    def gauge(self) -> Gauge | None:
        """The ceiling of its own that it is nearest to."""
        return max(self.gauges, key=lambda gauge: gauge.share, default=None)

    @property
    def closed(self) -> int:
        return sum(gate.is_closed for gate in self.gates)

    @property
    def open_words(self) -> str:
        return ", ".join(gate.name.lower() for gate in self.gates if not gate.is_closed)


def rows_of(request: ConsoleRequest, found: list[ApiKey], at: datetime) -> list[Row]:
    last, weeks = selectors.last_used(request.workspace, found), selectors.uses_of(request.workspace, found, since=at - timedelta(days=7))
    default = default_policy(request)
    gauges = gauges_of(request.workspace, found, at=at)
    balances = money_selectors.key_balances(request.workspace, [key.pk for key in found])
    rows = []
    for key in found:
        scope = selectors.scope_of(key)
        gates = words.gates(scope, own_limits(key), resolve(key.firewall_policy, default), at)
        state = status(scope, at, credit_limit_micro_usd=key.credit_limit_micro_usd, spent_micro_usd=balances[key.pk].spent_micro_usd)
        rows.append(Row(key, services.masked(key), state, last[key.pk], weeks[key.pk], gates, gauges[key.pk]))
    return rows


def key_of(request: ConsoleRequest, pk: str) -> ApiKey:
    """The key of an address. Raises ``NotFound``."""
    found = request.workspace.api_keys.select_related("firewall_policy", "created_by").filter(pk=row_id(pk)).first()
    if found is None:
        raise errors.NotFound("Not found.")
    return found


def default_policy(request: ConsoleRequest) -> Policy | None:
    return request.workspace.policies.filter(is_default=True).first()


def openness_of(key: ApiKey) -> words.Openness:
    """How far a key reaches as it is."""
    policy = key.firewall_policy
    return words.Openness(selectors.scope_of(key), policy.name if policy else None, key.is_firewall_gateway, own_limits(key))
