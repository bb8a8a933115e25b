"""What a call costs that is asked about, where its tool has a price: held while it is judged, booked when it may be made.

Nobody tells afterwards whether the call was made: it was allowed, so it counts. Source: spec/decisions.md 6.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from firewall.engine.types import Decision, Verdict
from keys.engine.ceilings import Limits
from keys.engine.grant import Grant
from orcarouter.gateway import claims, holds, money, record, runs
from orcarouter.gateway.accounts import Settlement
from orcarouter.gateway.money import Claim
from orcarouter.gateway.refusals import BUDGET_UNKNOWN, unaffordable
from orcarouter.gateway.request import Request
from orcarouter.gateway.state import State
from workspaces.ids import moment_of


def goes_on(decision: Decision) -> bool:
    return decision.verdict not in (Verdict.DENY, Verdict.PENDING_APPROVAL)


@dataclass
class Charge:
    """The money of one call that is asked about: of ``tool_name``, in a run of the key ``key_id``, under its ``limits``."""

    state: State
    request: Request
    tool_name: str
    key_id: int
    limits: Limits
    workspace_id: int
    claim: Claim | None = None
    accounts: tuple[str, ...] = ()
    run_id: str = ""

    @property
    def price_micro_usd(self) -> int:
        return self.claim.amount_micro_usd or 0 if self.claim else 0

    def claimed(self, grant: Grant) -> Claim | None:
        """What ``State.admit`` is to hold."""
        price = grant.tool_prices.price(self.tool_name)
        limits = grant.limits if grant.key_id == self.key_id else self.limits
        process_id, at = str(self.state.lease.process_id), moment_of(self.request.uuid)
        made = claims.of_tool(grant.policy, limits, self.key_id, price, request_id=self.request.id, process_id=process_id, at=at)
        self.claim, self.limits = made if price else None, limits
        return made

    async def admitted(self, admission: runs.Admission, shared: Mapping[str, object]) -> None:
        """Raise ``OrcaError``, recorded, if a ceiling of the key has no room for the call."""
        self.run_id = admission.run_id
        if self.claim is None:
            return
        if admission.held.is_held:
            self.accounts = (*self.claim.accounts, money.run_account(self.key_id, self.run_id).name)
        if error := unaffordable(self.claim, admission.held.refused_by, ""):
            row = record.tool_usage(shared, self.request, status=error.status, outcome="blocked", error_code=error.code, cost_micro_usd=0)
            await self.state.stands(self.state.recorder.submit([], [row]))
            raise error

    def blind_refusal(self) -> Decision | None:
        """Why the call may not be made while nobody can tell what was spent."""
        return BUDGET_UNKNOWN if self.claim is not None and self.claim.ceilings else None

    async def book(self, grant: Grant, decision: Decision, events: Sequence[dict], shared: Mapping[str, object]) -> None:
        """Record the decision with what it costs, and return when both stand. Raises ``StoreUnavailable``."""
        price = self.price_micro_usd
        if not price or not goes_on(decision):
            if events := holds.unrecorded(events):
                await self.state.record(grant, events, [])
            self.release()
            return
        usage = record.tool_usage(shared, self.request, status=200, outcome="completed", error_code=None, cost_micro_usd=price)
        events = holds.unrecorded({**event, "cost_micro_usd": price} if not place else event for place, event in enumerate(events))
        movement = record.tool_movement(shared, self.request, member_id=self.limits.member_id, cost_micro_usd=price)
        settlement = Settlement(self.workspace_id, self.request.id, price, self.accounts)
        await self.state.stands(self.state.submit(grant, events, [usage], [movement], settlement))

    def release(self) -> None:
        """Give back what the call held, whether or not Valkey's answer was heard."""
        if self.claim is not None:
            self.state.accounts.settle(Settlement(self.workspace_id, self.request.id, 0, self.accounts))
