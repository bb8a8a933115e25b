"""What a call asks Valkey, in one round trip: is my configuration current, which run am I in, what has the run done so far.

Valkey is a copy. A key it does not know of is ``cold`` and is rebuilt from the usage ledger in PostgreSQL; without Valkey the
ledger answers directly. All keys of a workspace share a hash tag, so the script touches one slot.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orcarouter.gateway import money

#: Prefixes of the message list that are looked up, longest first: an agent adds a few messages a step.
MAX_PREFIXES = 32
#: Seconds Valkey remembers a run after its last call; afterwards the ledger still does.
RUN_TTL_SECONDS = 24 * 3600

# KEYS[1] version of the workspace. ARGV: the caller's version, whether PostgreSQL has just confirmed it (1), key id,
# now in ms, gap in ms, ttl in s, run id given ('' to derive), candidate run id, fingerprint, runs that the key may begin in an hour
# or '', whether one more is refused (1), number of digests, digests (longest first; the first is this call's own), then what
# ``money.RESERVE`` reads, if anything. Answers {version, dirty, run, state, calls, chains, begun, money}; state is 'known', 'new',
# 'cold' (the ledger must be asked first), 'stale' (the configuration must), 'over' (the run may not begin) or 'refused' (a ceiling of
# the key): these four change nothing, nor does a call without digests. ``begun`` is the number of runs that the key began within
# the hour if this call begins one, itself among them, else 0; -1 when cold, if these are to be told as well. ``money`` is what
# ``reserve`` answered.
ADMIT = (
    money.RESERVE
    + """
local space = string.sub(KEYS[1], 1, -8)
local version = redis.call('HMGET', KEYS[1], 'v', 'dirty')
if ARGV[2] ~= '1' then
  if tonumber(version[2] or 0) > 0 or not version[1] or tonumber(version[1]) ~= tonumber(ARGV[1]) then
    return {version[1], version[2], '', 'stale', 0, '', 0, {}}
  end
elseif tonumber(version[1] or 0) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'v', ARGV[1])
end
local key, now, gap, ttl = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local given, candidate, fingerprint, count = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[12])
local function run_key(run) return space .. 'run:' .. key .. ':' .. run end
local counters
local function read(run) counters = redis.call('HMGET', run_key(run), 'last', 'calls', 'chains') end
local function alive(run)
  if not run then return false end
  read(run)
  return counters[1] and now - tonumber(counters[1]) < gap
end
local run, state = given, 'known'
if given ~= '' then
  read(given)
  if not counters[1] then state = 'cold' end
else
  for i = 1, count do
    local found = redis.call('GET', space .. 'context:' .. key .. ':' .. ARGV[12 + i])
    if alive(found) then run = found break end
  end
  if run == '' then
    local found = redis.call('GET', space .. 'fingerprint:' .. key .. ':' .. fingerprint)
    if alive(found) then run = found end
  end
  if run == '' then
    run = candidate
    read(run)
    state = redis.call('EXISTS', space .. 'warm:' .. key) == 1 and 'new' or 'cold'
  end
end
-- What a run is kept in lives on from the first call of each minute.
local renews = state == 'new' or math.floor(now / 60000) ~= math.floor(tonumber(counters[1] or 0) / 60000)
local begins, begun, limit = space .. 'begun:' .. key, 0, tonumber(ARGV[10])
local calls = tonumber(counters[2] or 0)
local may_begin = limit and calls == 0
-- What was begun while no limit, or another one, was in force is in the ledger.
if may_begin and redis.call('GET', begins .. ':version') ~= ARGV[1] then state, begun = 'cold', -1 end
if state == 'cold' then return {version[1], version[2], run, state, 0, '', begun, {}} end
if may_begin then
  redis.call('ZREMRANGEBYSCORE', begins, '-inf', now - 3600000)
  if not redis.call('ZSCORE', begins, run) then
    begun = redis.call('ZCARD', begins) + 1
    if begun > limit and ARGV[11] == '1' then return {version[1], version[2], run, 'over', 0, '', begun, {}} end
  end
end
local money = ARGV[13 + count] and reserve(space, key, run, state == 'new', renews, 13 + count) or {}
if money[1] == 'cold' then return {version[1], version[2], run, 'cold', 0, '', 0, money} end
if money[1] == 'over' and money[5] == 0 then return {version[1], version[2], run, 'refused', 0, '', 0, money} end
if count == 0 then return {version[1], version[2], run, state, calls, counters[3] or '', begun, money} end
if begun > 0 and begun <= limit then redis.call('ZADD', begins, now, run) redis.call('EXPIRE', begins, 3600) end
redis.call('HSET', run_key(run), 'calls', calls + 1, 'last', now)
if renews then redis.call('EXPIRE', run_key(run), ttl) end
if given == '' then
  redis.call('SET', space .. 'context:' .. key .. ':' .. ARGV[13], run, 'PX', gap)
  redis.call('SET', space .. 'fingerprint:' .. key .. ':' .. fingerprint, run, 'PX', gap)
end
return {version[1], version[2], run, state, calls, counters[3] or '', begun, money}
"""
)

# KEYS[1] as above. ARGV: key id, gap in ms, ttl in s, whether that is all there is of this key's derived runs (1), the caller's
# version if all runs are told that the key began within the hour ('' if not), number of runs, number of those begun; then of each
# run: id, calls, last in ms; of each run begun: when in ms, id; then pairs of a context's or fingerprint's name and its run.
# Seeds what the ledger knows; what a live call has written meanwhile wins.
SEED = """
local space = string.sub(KEYS[1], 1, -8)
local key, gap, ttl = ARGV[1], ARGV[2], ARGV[3]
local first_begun = 8 + 3 * tonumber(ARGV[6])
local first_name = first_begun + 2 * tonumber(ARGV[7])
for i = 8, first_begun - 1, 3 do
  local name = space .. 'run:' .. key .. ':' .. ARGV[i]
  if redis.call('HSETNX', name, 'last', ARGV[i + 2]) == 1 then
    redis.call('HSET', name, 'calls', ARGV[i + 1], 'chains', '?')
    redis.call('EXPIRE', name, ttl)
  end
end
local begins = space .. 'begun:' .. key
for i = first_begun, first_name - 1, 2 do redis.call('ZADD', begins, 'NX', ARGV[i], ARGV[i + 1]) end
if redis.call('EXISTS', begins) == 1 then redis.call('EXPIRE', begins, 3600) end
if ARGV[5] ~= '' then redis.call('SET', begins .. ':version', ARGV[5], 'EX', ttl) end
for i = first_name, #ARGV, 2 do redis.call('SET', space .. ARGV[i], ARGV[i + 1], 'PX', gap, 'NX') end
if ARGV[4] == '1' then redis.call('SET', space .. 'warm:' .. key, 1, 'EX', ttl) end
return 1
"""

# KEYS[1] a run's counters. ARGV: the progress of its sequences as it was read and as it is to be. Answers nothing when it is
# kept, else what stands by now. A run that Valkey has lost is counted by its events.
ADVANCE = """
if redis.call('HEXISTS', KEYS[1], 'last') == 0 then return false end
local kept = redis.call('HGET', KEYS[1], 'chains') or ''
if kept ~= ARGV[1] then return kept end
redis.call('HSET', KEYS[1], 'chains', ARGV[2])
return false
"""

# KEYS[1] a run's counters. ARGV[1]: what says that its sequences are to be counted by its events.
DISTRUST = "if redis.call('HEXISTS', KEYS[1], 'last') == 1 then redis.call('HSET', KEYS[1], 'chains', ARGV[1]) end"

#: Instead of the progress of a run's sequences: Valkey does not know it.
LOST = b"?"


class Owned(NamedTuple):
    """A run, whole: the same id under another key is another run."""

    workspace_id: int
    key_id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What is known of a call's run before Valkey or the ledger is asked. ``run_id`` None: to be derived.

    Without ``digests`` the call only looks at the run, and changes nothing. ``key_id``: whose run it is, None the asking key's.
    """

    run_id: str | None
    candidate: str
    fingerprint: str
    digests: tuple[str, ...]
    key_id: int | None = None
    #: The hook's: calls of one conversation, or of none, are one run. None: the messages say.
    conversation: tuple[str | None] | None = None

    @property
    def source(self) -> str:
        return "derived" if self.run_id is None else "header"


@dataclass(frozen=True, slots=True)
class Admission:
    """What Valkey answered. ``is_stale``: a newer configuration than the caller's stands, or may; nothing else is said then."""

    run_id: str
    calls: int
    #: What the call asked to hold, and what became of it.
    claim: money.Claim | None = None
    held: money.Held = money.NOTHING_HELD
    is_cold: bool = False
    is_stale: bool = False
    #: How many runs the key began within the hour, this one among them; 0 where the call begins none, or nobody counts.
    runs_this_hour: int = 0
    #: How far the run's sequences have come, as Valkey keeps it: for ``sequences.Sequences``. Empty: nowhere yet; None: Valkey is away.
    chains: bytes | None = b""
    #: The run's spending cannot be told: Valkey is away.
    is_blind: bool = False
    version: int | None = None


class RunLimit(NamedTuple):
    """How many runs a key may begin within an hour, and whether one more is refused, or only told."""

    runs: int
    refuses: bool


#: A run's id, calls, and last call in ms.
Counted = tuple[str, int, int]


def space(workspace_id: int) -> str:
    """The prefix of a workspace's keys, its hash tag included."""
    return f"orca:{{{workspace_id}}}:"


def run_key(workspace_id: int, key_id: int, run_id: str) -> str:
    return f"{space(workspace_id)}run:{key_id}:{run_id}"


def arguments(
    version: int,
    lineage: Lineage,
    claimed: Sequence[str | int],
    limit: RunLimit | None,
    *,
    is_confirmed: bool,
    key_id: int,
    now_ms: int,
    gap_seconds: int,
) -> list[str | int]:
    """ARGV of ``ADMIT``; ``claimed`` comes from ``money.arguments``."""
    fixed: list[str | int] = [
        version,
        int(is_confirmed),
        key_id,
        now_ms,
        gap_seconds * 1000,
        RUN_TTL_SECONDS,
        lineage.run_id or "",
        lineage.candidate,
        lineage.fingerprint,
        *((limit.runs, int(limit.refuses)) if limit else ("", 0)),
    ]
    return [*fixed, len(lineage.digests), *lineage.digests, *claimed]


def seeds(
    key_id: int,
    gap_seconds: int,
    runs: Iterable[Counted],
    *,
    names: Mapping[str, str] = {},
    is_all: bool = False,
    begun: Mapping[str, int] = {},
    begun_by: int | None = None,
) -> list[str | int]:
    """ARGV of ``SEED``. ``names`` are contexts and fingerprints, as ``context_name`` has them, and the run of each.

    ``begun`` says when (ms) runs began; ``begun_by`` the version at which these were all of the hour, None where they are not.
    """
    told = [value for run in runs for value in run]
    began = [value for run_id, at_ms in begun.items() for value in (at_ms, run_id)]
    whole = (int(is_all), "" if begun_by is None else begun_by)
    named = [value for pair in names.items() for value in pair]
    return [key_id, gap_seconds * 1000, RUN_TTL_SECONDS, *whole, len(told) // 3, len(began) // 2, *told, *began, *named]


def context_name(key_id: int, digest: str) -> str:
    return f"context:{key_id}:{digest}"


def fingerprint_name(key_id: int, fingerprint: str) -> str:
    return f"fingerprint:{key_id}:{fingerprint}"


def hook_fingerprint(key_id: int, conversation_id: str | None, *, secret: bytes) -> str:
    """What stands for a conversation of the hook where there are no messages to go by."""
    return hashlib.blake2b(f"evaluate\0{key_id}\0{conversation_id or ''}".encode(), digest_size=16, key=secret[:64]).hexdigest()


def read(reply: Sequence, claim: money.Claim | None) -> Admission:
    """The reply of ``ADMIT`` as values."""
    version, dirty, run_id, state, calls, chains, begun, held = reply
    return Admission(
        run_id.decode(),
        int(calls),
        claim,
        money.read(claim, held) if claim and held else money.NOTHING_HELD,
        chains=chains,
        is_cold=state == b"cold",
        is_stale=state == b"stale",
        runs_this_hour=int(begun),
        version=settled_version(version, dirty),
    )


def settled_version(version: bytes | None, dirty: bytes | None) -> int | None:
    """The number that Valkey may be believed: none while it has no copy, or while a change is being committed."""
    return int(version) if version is not None and int(dirty or 0) <= 0 else None


def advanced(key: str, told: bytes, kept: bytes) -> tuple:
    """The command that keeps how far a run's sequences have come, if nobody else did meanwhile."""
    return ("EVAL", ADVANCE, 1, key, told, kept)


def distrusted(key: str) -> tuple:
    """The command after which a run's sequences are counted by its events."""
    return ("EVAL", DISTRUST, 1, key, LOST)
