"""Accounts in Valkey: what was spent and is held under each ceiling, reserved and settled atomically across processes.

An account is one hash: ``gen`` (which start of Valkey it was made under), ``spent``, ``held``, and ``c:<request>`` with the amount of
each call in flight. It is a copy of the ledger and is never repaired: whenever it is missing or in doubt it is dropped, and whoever
asks next rebuilds it from PostgreSQL. A call names every account that it could count in; those without a ceiling are dropped too,
so that a ceiling set later does not find an old sum.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from keys.engine.ceilings import Account, Ceiling, Cycle, Scope, period

#: Seconds that Valkey remembers an account after its last call.
ACCOUNT_TTL_SECONDS = 48 * 3600

#: Part of ``runs.ADMIT``: ``reserve(space, key, run, is_new, renews, first)`` reads its arguments from ``ARGV[first]`` on: amount ('' to
#: look only), request id, the line for the index of claims, gen, ttl (begun anew where it ``renews``), number of tracked accounts, then
#: of each its name ('run' for the run's) and limit ('' for none), then the names to drop. Answers {outcome, position, spent and held of
#: the run, whether the run's cap refused}: 'held', 'looked', 'over' (nothing is held; position says which refused), or 'cold' (nothing
#: has changed; what follows are the names to rebuild).
RESERVE = """
local function reserve(space, key, run, is_new, renews, first)
  local amount, id, line, gen, ttl = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3], ARGV[first + 4]
  local count, at = tonumber(ARGV[first + 5]), first + 6
  local names, limits, spent, held, claimed, cold = {}, {}, {}, {}, {}, {}
  for i = 1, count do
    local name, limit = ARGV[at], ARGV[at + 1]
    at = at + 2
    local is_run = name == 'run'
    if is_run then name = 'run:' .. key .. '.' .. run .. ':' end
    local account = space .. 'account:' .. name
    local found = redis.call('HMGET', account, 'gen', 'spent', 'held', 'c:' .. id)
    if found[1] ~= gen then
      if is_run and is_new then
        redis.call('DEL', account)
        redis.call('HSET', account, 'gen', gen, 'spent', 0, 'held', 0)
        found = {}
      else cold[#cold + 1] = name end
    end
    names[i], limits[i], spent[i], held[i], claimed[i] = account, limit, tonumber(found[2] or 0), tonumber(found[3] or 0), found[4]
    if is_run then names.run = i end
  end
  if #cold > 0 then
    for _, name in ipairs(cold) do redis.call('DEL', space .. 'account:' .. name) end
    return {'cold', #cold, 0, 0, 0, unpack(cold)}
  end
  local dropped = {}
  for i = at, #ARGV do dropped[#dropped + 1] = space .. 'account:' .. (ARGV[i] == 'run' and 'run:' .. key .. '.' .. run .. ':' or ARGV[i]) end
  if #dropped > 0 then redis.call('UNLINK', unpack(dropped)) end
  local of_run = names.run or 0
  if amount == '' then return {'looked', 0, spent[of_run] or 0, held[of_run] or 0} end
  for i = 1, count do
    if limits[i] ~= '' and spent[i] + held[i] + tonumber(amount) > tonumber(limits[i]) then
      return {'over', i, spent[of_run] or 0, held[of_run] or 0, i == of_run and 1 or 0}
    end
  end
  for i = 1, count do
    if not claimed[i] then redis.call('HSET', names[i], 'c:' .. id, amount, 'held', held[i] + tonumber(amount)) end
    if renews then redis.call('EXPIRE', names[i], ttl) end
  end
  if count > 0 then
    redis.call('HSET', space .. 'claims', id, line .. '|run:' .. key .. '.' .. run .. ':')
    redis.call('EXPIRE', space .. 'claims', ttl)
  end
  return {'held', 0, spent[of_run] or 0, held[of_run] or 0}
end
"""

# KEYS[1] the workspace's version. ARGV: request id, cost, names of the accounts that the call counts in, none: as it was claimed. An account that does not know
# of the call is in doubt, and so is a rebuild that may have read the ledger before this cost stood in it.
SETTLE = """
local space = string.sub(KEYS[1], 1, -8)
local names = {unpack(ARGV, 3)}
if #names == 0 then
  local place = 0
  for part in string.gmatch(redis.call('HGET', space .. 'claims', ARGV[1]) or '', '[^|]+') do
    place = place + 1
    if place > 3 then names[#names + 1] = part end
  end
end
for _, name in ipairs(names) do
  local account = space .. 'account:' .. name
  local amount = redis.call('HGET', account, 'c:' .. ARGV[1])
  if amount then
    redis.call('HDEL', account, 'c:' .. ARGV[1])
    redis.call('HINCRBY', account, 'held', -tonumber(amount))
    redis.call('HINCRBY', account, 'spent', ARGV[2])
  else redis.call('UNLINK', account, space .. 'rebuild:' .. name) end
end
redis.call('HDEL', space .. 'claims', ARGV[1])
return 1
"""

# KEYS[1] as above. ARGV: name, gen, spent, ttl, then id and amount of each call in flight. Answers 1 when the account stands, 0 when
# the ledger must be read again. ``REBUILD`` is asked before the ledger is.
SEED = """
local space = string.sub(KEYS[1], 1, -8)
local account, rebuild = space .. 'account:' .. ARGV[1], space .. 'rebuild:' .. ARGV[1]
if redis.call('HGET', account, 'gen') == ARGV[2] then return 1 end
if redis.call('GET', rebuild) ~= ARGV[5] then return 0 end
redis.call('DEL', account, rebuild)
local held = 0
for i = 6, #ARGV, 2 do
  redis.call('HSET', account, 'c:' .. ARGV[i], ARGV[i + 1])
  held = held + tonumber(ARGV[i + 1])
end
redis.call('HSET', account, 'gen', ARGV[2], 'spent', ARGV[3], 'held', held)
redis.call('EXPIRE', account, ARGV[4])
return 1
"""

# KEYS[1] as above. ARGV: name, a word of one's own. Answers the word under which the account is being rebuilt.
REBUILD = """
local rebuild = string.sub(KEYS[1], 1, -8) .. 'rebuild:' .. ARGV[1]
redis.call('SET', rebuild, ARGV[2], 'EX', 30, 'NX')
return redis.call('GET', rebuild)
"""

RUN = "run"


class Claim(Struct, frozen=True):
    """What a call may cost at most, and the ceilings that it must fit under until it is settled.

    ``amount_micro_usd`` None is a call without a price: it holds nothing, nor does one that ``looks_only``.
    ``run_cap_micro_usd`` is the least cap of the run that the call meets;
    ``tracks_run`` counts the run's spending whether or not a cap refuses.
    """

    id: str
    amount_micro_usd: int | None
    ceilings: tuple[Ceiling, ...] = ()
    tracks_run: bool = False
    looks_only: bool = False
    run_cap_micro_usd: int | None = None
    #: Every account that the call counts in, the run's aside, whether or not there is a ceiling.
    accounts: tuple[str, ...] = ()
    #: For whoever finds the claim of a dead process: which process, until when, and whose call it is.
    process_id: str = ""
    deadline_ms: int = 0
    key_id: int = 0

    @property
    def line(self) -> str:
        return "|".join((self.process_id, str(self.deadline_ms), str(self.key_id), *self.accounts))

    @property
    def is_capped(self) -> bool:
        """Whether anything limits what the call may cost."""
        return bool(self.ceilings) or self.tracks_run


class Held(NamedTuple):
    """What became of a claim. ``refused_by`` is the ceiling that it does not fit under, ``RUN`` the run's cap, None: none."""

    refused_by: Ceiling | str | None
    is_held: bool
    run_spent_micro_usd: int
    run_held_micro_usd: int
    #: The names of accounts that must be rebuilt first; nothing else is said then.
    cold: tuple[str, ...] = ()


NOTHING_HELD = Held(None, False, 0, 0)


def accounts_of(key_id: int, member_id: int | None, at: datetime) -> tuple[str, ...]:
    """The names of all accounts that a call counts in, the run's aside, whether or not there is a ceiling."""
    return _accounts_of(key_id, member_id, at.astimezone(UTC).date())


@lru_cache(maxsize=4096)
def _accounts_of(key_id: int, member_id: int | None, day: date) -> tuple[str, ...]:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    accounts = [Account(Scope.KEY, str(key_id))]
    accounts += [Account(Scope.CYCLE, f"{key_id}.{cycle}", period(cycle, noon)[0]) for cycle in Cycle]
    first = period(Cycle.MONTH, noon)[0]
    accounts.append(Account(Scope.WORKSPACE, "", first))
    if member_id is not None:
        accounts.append(Account(Scope.MEMBER, str(member_id), first))
    return tuple(account.name for account in accounts)


def run_account(key_id: int, run_id: str) -> Account:
    return Account(Scope.RUN, f"{key_id}.{run_id}")


def parsed(name: str) -> Account:
    """The account of a name."""
    scope, _, rest = name.partition(":")
    owner, _, since = rest.rpartition(":")
    return Account(Scope(scope), owner, date.fromisoformat(since) if since else None)


def arguments(claim: Claim, generation: str) -> list[str | int]:
    """What ``reserve`` reads."""
    tracked: list[str | int] = []
    for ceiling in claim.ceilings:
        tracked += [ceiling.account.name, ceiling.limit_micro_usd]
    if claim.tracks_run:
        tracked += [RUN, "" if claim.run_cap_micro_usd is None else claim.run_cap_micro_usd]
    kept = {ceiling.account.name for ceiling in claim.ceilings}
    dropped = [name for name in claim.accounts if name not in kept] + ([] if claim.tracks_run else [RUN])
    amount: str | int = "" if claim.looks_only or claim.amount_micro_usd is None else claim.amount_micro_usd
    if amount == "":
        dropped = []  # who only looks moves nothing
    return [amount, claim.id, claim.line, generation, ACCOUNT_TTL_SECONDS, len(tracked) // 2, *tracked, *dropped]


def read(claim: Claim, reply: Sequence) -> Held:
    outcome, position, spent, held, *rest = reply
    if outcome == b"cold":
        return Held(None, False, 0, 0, tuple(name.decode() for name in rest[1:]))
    refused_by: Ceiling | str | None = None
    if outcome == b"over":
        refused_by = claim.ceilings[position - 1] if position <= len(claim.ceilings) else RUN
    return Held(refused_by, outcome == b"held", int(spent), int(held))
