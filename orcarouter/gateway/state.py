"""Everything that a call reads or writes beyond its own memory. Each function says what becomes of the call when it fails.

Enforcement fails closed, observation fails open and is counted.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import hiredis
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, transaction

from keys import selectors
from keys.engine.grant import Grant
from orcarouter.gateway import metrics, money, runs
from orcarouter.gateway.accounts import Accounts, Settlement
from orcarouter.gateway.lease import Lease
from orcarouter.gateway.link import Away, Link
from orcarouter.gateway.money import Claim
from orcarouter.gateway.recorder import NotRecorded, Recorder, Recording
from orcarouter.gateway.rows import Rows
from orcarouter.gateway.sequences import Sequences
from workspaces import valkey
from workspaces.errors import PolicyUnavailable, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PEPPER = settings.KEY_PEPPER.encode()
#: Grants kept in memory, and guessed keys remembered as unknown.
MAX_GRANTS, MAX_UNKNOWN = 20_000, 10_000
UNKNOWN_SECONDS = 5.0
#: Runs of an hour that are told to Valkey after a loss.
MAX_BEGUN = 20_000
#: With Valkey away the version is read from PostgreSQL this often.
VERSION_SECONDS = 1.0
#: A read of the configuration that takes longer means that PostgreSQL is away.
LOAD_SECONDS = 5.0
#: A change that takes longer is given up. It may wait for a lock that others hold.
CHANGE_SECONDS = 10.0
#: Between two hints to a feed: what an eye takes for at once.
TELL_SECONDS = 0.05
#: Times that one call asks Valkey, rebuilding in between what it has lost.
MAX_ASKS = 6


class State:
    """One instance a process: grants in memory, one connection to Valkey, one to PostgreSQL for the record."""

    def __init__(self) -> None:
        self.link = Link(settings.REDIS_URL)
        self.recorder = Recorder(settings.DATABASE_RECORDER_URL)
        self.accounts = Accounts(self.link, self._script, self.read)
        self.lease = Lease(self.recorder, self.in_thread)
        self.sequences = Sequences(self.link, self.read)
        self._grants: OrderedDict[str, Grant] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        #: Of other keys than the asking one: name and environment, by workspace, key and version.
        self._named_keys: OrderedDict[tuple[int, int, int], selectors.NamedKey] = OrderedDict()
        self._loading: dict[str, asyncio.Task] = {}
        self._versions: dict[int, tuple[int, float]] = {}
        self._scripts: dict[str, bytes] = {}
        #: Workspaces whose feeds are soon told of new events.
        self._told: set[int] = set()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="orca-config")
        #: For what may have to wait until somebody lets go of a workspace: nobody who only reads waits behind it.
        self._changing = ThreadPoolExecutor(4, thread_name_prefix="orca-change")

    async def start(self) -> None:
        await self.link.start()
        await self.recorder.start()
        await self.lease.start()

    async def stop(self) -> None:
        await self.lease.stop()
        await self.recorder.stop()
        await self.sequences.stop()
        self.accounts.stop()
        await self.link.stop()
        for threads in (self._threads, self._changing):
            threads.shutdown(wait=False, cancel_futures=True)

    # --- Configuration ------------------------------------------------------------------------------------------------
    async def grant(self, token_hash: str) -> Grant | None:
        """What a key grants: from memory when warm; None for an unknown key. Whether it is current is ``admit``'s to say.

        PostgreSQL away and no copy: ``PolicyUnavailable`` (503), the call is not let through.
        """
        found = self._grants.get(token_hash)
        if found is not None:
            self._grants.move_to_end(token_hash)
            return found
        since = self._unknown.get(token_hash)
        if since is not None and time.monotonic() - since < UNKNOWN_SECONDS:
            return None
        return await self.reload(token_hash)

    async def reload(self, token_hash: str, *, at_least: int = 0) -> Grant | None:
        """Read a key's grant afresh; callers that ask at the same time share one read.

        A read that began before version ``at_least`` was committed does not count. PostgreSQL away: the last good copy,
        else ``PolicyUnavailable``.
        """
        found = await self._reload(token_hash)
        return await self._reload(token_hash) if found is not None and found.config_version < at_least else found

    async def _reload(self, token_hash: str) -> Grant | None:
        task = self._loading.get(token_hash)
        if task is None:
            task = self._loading[token_hash] = asyncio.create_task(self.in_thread(selectors.load_grant, token_hash))
            task.add_done_callback(lambda _: self._loading.pop(token_hash, None))
        try:
            found = await asyncio.wait_for(asyncio.shield(task), LOAD_SECONDS)
        except (DatabaseError, TimeoutError) as error:
            metrics.GRANT_LOADS.labels("failed").inc()
            if token_hash in self._grants:
                return self._grants[token_hash]
            raise PolicyUnavailable("The configuration cannot be read just now.") from error
        metrics.GRANT_LOADS.labels("read").inc()
        if found is None:
            self._grants.pop(token_hash, None)
            _remember(self._unknown, token_hash, time.monotonic(), MAX_UNKNOWN)
        else:
            _remember(self._grants, token_hash, found, MAX_GRANTS)
        return found

    async def in_thread(self, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._threads, _with_connection, function, arguments)

    async def change(self, function: Callable[..., T], *arguments: Any) -> T:
        """Change rows of a workspace, in a thread. Raises ``DatabaseError``, and ``TimeoutError`` for what took too long, or was not begun in time.

        What the caller gave up is not done afterwards: it begins early enough to end in time, or not at all.
        """
        begin_by = time.monotonic() + CHANGE_SECONDS / 2
        threads = asyncio.get_running_loop().run_in_executor(self._changing, _with_connection, _begun_by, (begin_by, function, arguments))
        return await asyncio.wait_for(threads, CHANGE_SECONDS)

    async def _version_in_postgres(self, workspace_id: int) -> int | None:
        """The version as PostgreSQL has it, at most ``VERSION_SECONDS`` old when Valkey is away; None when it is away too."""
        known = self._versions.get(workspace_id)
        if known is not None and not self.link.is_up and time.monotonic() - known[1] < VERSION_SECONDS:
            return known[0]
        try:
            version = await asyncio.wait_for(self.in_thread(selectors.config_version, workspace_id), LOAD_SECONDS)
        except (DatabaseError, TimeoutError):
            # The last good copy decides; whether the call may be answered is the record's to say.
            return None
        self._versions[workspace_id] = (version, time.monotonic())
        return version

    async def named_key(self, grant: Grant, key_id: int) -> selectors.NamedKey | None:
        """Another key of the grant's workspace; None where there is none. PostgreSQL away: ``StoreUnavailable``."""
        name = (grant.workspace_id, key_id, grant.config_version)
        found = self._named_keys.get(name)
        if found is None:
            found = await self.read(selectors.named_key, grant.workspace_id, key_id)
            if found is not None:
                _remember(self._named_keys, name, found, MAX_GRANTS)
        return found

    # --- Admission ----------------------------------------------------------------------------------------------------
    async def admit(
        self, token_hash: str, grant: Grant, lineage: runs.Lineage, claim_of: Callable[[Grant], Claim | None] = lambda _: None
    ) -> tuple[Grant | None, runs.Admission]:
        """The current grant (the one given, or a newer one; None: the key is gone) and the run's counters.

        ``claim_of(grant)`` is what the call is to hold under its ceilings. One round trip to Valkey when the grant is current.
        Valkey away: version and run come from PostgreSQL, and the call goes on unless it is capped (``is_blind``).
        PostgreSQL's recorder away: ``StoreUnavailable`` (503), nothing may go unrecorded.
        """
        if not self.recorder.accepts:
            raise StoreUnavailable("Calls cannot be recorded just now, so none is let through.")
        try:
            admission = await self._ask_valkey(grant, lineage, claim_of(grant), is_confirmed=False)
            if not admission.is_stale:
                return grant, admission
            current = await self._newest(token_hash, grant, admission.version)
            return current, await self._ask_valkey(current, lineage, claim_of(current), is_confirmed=True) if current else admission
        except (Away, hiredis.ReplyError) as error:
            metrics.VALKEY_AWAY.inc()
            logger.debug("admit_without_valkey", extra={"error": str(error)})
            current = await self._newest(token_hash, grant, None)
            return current, await self._ask_ledger(current or grant, lineage, claim_of(current or grant))

    async def hold(self, grant: Grant, lineage: runs.Lineage, claim: Claim) -> bool:
        """Hold for more of a call that was admitted; whether it fits, and its configuration still stands. Raises ``Away``, ``hiredis.ReplyError``."""
        return (await self._ask_valkey(grant, lineage, claim, is_confirmed=False)).held.is_held

    async def fresh(self, token_hash: str, grant: Grant) -> Grant | None:
        """The current grant for a call that enters no run (a listing, a refusal); fails as ``admit`` does."""
        try:
            version = runs.settled_version(*await self.link.call("HMGET", valkey.version_key(grant.workspace_id), "v", "dirty"))
        except (Away, hiredis.ReplyError):
            version = None
        return await self._newest(token_hash, grant, version)

    async def _newest(self, token_hash: str, grant: Grant, version: int | None) -> Grant | None:
        """Reload if the version, Valkey's or else PostgreSQL's, is newer than the grant's."""
        if version is None or version < grant.config_version:
            # Valkey has none, or an old one from its own backup.
            version = await self._version_in_postgres(grant.workspace_id)
        if version is None or version <= grant.config_version:
            return grant
        return await self.reload(token_hash, at_least=version)

    async def _ask_valkey(self, grant: Grant, lineage: runs.Lineage, claim: Claim | None, *, is_confirmed: bool) -> runs.Admission:
        grant = _owner(grant, lineage)
        version_key = valkey.version_key(grant.workspace_id)
        for _ in range(MAX_ASKS):
            arguments = runs.arguments(
                grant.config_version,
                lineage,
                money.arguments(claim, self.link.generation) if claim else (),
                _run_limit(grant),
                is_confirmed=is_confirmed,
                key_id=grant.key_id,
                now_ms=time.time_ns() // 1_000_000,
                gap_seconds=grant.run_gap_seconds,
            )
            admission = runs.read(await self._script(runs.ADMIT, version_key, *arguments), claim)
            if admission.held.cold:
                await self.accounts.rebuild(grant.workspace_id, admission.held.cold)
            elif admission.is_cold:
                await self._warm(grant, lineage, version_key, counts_begun=admission.runs_this_hour < 0)
            else:
                return admission
        raise Away("what was told was lost at once")

    async def _warm(self, grant: Grant, lineage: runs.Lineage, version_key: str, *, counts_begun: bool) -> None:
        """Rebuild from the ledger what Valkey does not know of this key (it lost it, or the key is new)."""
        names: dict[str, str] = {}
        if lineage.run_id is not None:
            found = await self._named_run(grant, lineage.run_id)
            # A run nobody has heard of begins at zero.
            counted = [_counted(found) if found else (lineage.run_id, 0, 0)]
        else:
            key, trail = grant.key_id, await self._trail(grant)
            names |= {runs.context_name(key, digest): run_id for digest, run_id in trail.contexts.items()}
            names |= {runs.fingerprint_name(key, digest): run_id for digest, run_id in trail.fingerprints.items()}
            for conversation_id, run_id in trail.conversations.items():
                fingerprint = runs.hook_fingerprint(key, conversation_id, secret=_PEPPER)
                names |= {runs.fingerprint_name(key, fingerprint): run_id, runs.context_name(key, fingerprint): run_id}
            counted = [_counted(run) for run in trail.runs.values()]
        begun = await self._begun(grant) if counts_begun else {}
        seeds = runs.seeds(
            grant.key_id,
            grant.run_gap_seconds,
            counted,
            names=names,
            is_all=lineage.run_id is None,
            begun=begun,
            begun_by=grant.config_version if counts_begun else None,
        )
        await self._script(runs.SEED, version_key, *seeds)

    async def _begun(self, grant: Grant) -> dict[str, int]:
        """When (ms) each run began that the key began within the hour."""
        limit = _run_limit(grant)
        at_most = min(limit.runs if limit else 0, MAX_BEGUN)
        found = await self.read(selectors.runs_begun, grant.workspace_id, grant.key_id, datetime.now(UTC) - timedelta(hours=1), at_most)
        return {run_id: int(at.timestamp() * 1000) for run_id, at in found.items()}

    async def _ask_ledger(self, grant: Grant, lineage: runs.Lineage, claim: Claim | None) -> runs.Admission:
        """What Valkey would have said, from PostgreSQL: the same rule over the same rows."""
        grant = _owner(grant, lineage)
        if lineage.run_id is not None:
            chosen = await self._named_run(grant, lineage.run_id)
        elif lineage.conversation is not None:
            trail = await self._trail(grant, conversation=lineage.conversation)
            chosen = next(iter(trail.runs.values()), None)
        else:
            trail = await self._trail(grant, digests=lineage.digests, fingerprint=lineage.fingerprint)
            run_id = next((trail.contexts[digest] for digest in lineage.digests if digest in trail.contexts), None) or trail.fingerprints.get(
                lineage.fingerprint
            )
            chosen = trail.runs.get(run_id) if run_id else None
        if chosen is None:
            return runs.Admission(lineage.run_id or lineage.candidate, 0, claim, chains=None, is_blind=True)
        return runs.Admission(chosen.run_id, chosen.calls, claim, chains=None, is_blind=True)

    async def _named_run(self, grant: Grant, run_id: str) -> selectors.RunTrace | None:
        return await self.read(selectors.named_run, grant.workspace_id, grant.key_id, run_id)

    async def _trail(self, grant: Grant, **only: Any) -> selectors.Trail:
        since = datetime.now(UTC) - timedelta(seconds=grant.run_gap_seconds)
        return await self.read(partial(selectors.trail, **only), grant.workspace_id, grant.key_id, since)

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Ask PostgreSQL, in a thread. Away: ``StoreUnavailable``."""
        try:
            return await asyncio.wait_for(self.in_thread(function, *arguments), LOAD_SECONDS)
        except (DatabaseError, TimeoutError) as error:
            raise StoreUnavailable("The database does not answer.") from error

    async def _script(self, source: str, *keys_and_arguments: str | int) -> Any:
        digest = self._scripts.get(source)
        if digest is None:
            digest = self._scripts[source] = await self.link.call("SCRIPT", "LOAD", source)
        try:
            return await self.link.call("EVALSHA", digest, 1, *keys_and_arguments)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            # Valkey was restarted or emptied.
            return await self.link.call("EVAL", source, 1, *keys_and_arguments)

    # --- The record ---------------------------------------------------------------------------------------------------
    def submit(
        self,
        grant: Grant,
        events: Rows,
        usage: Rows,
        ledger: Rows = (),
        settlement: Settlement | None = None,
        *,
        lingers: bool = False,
    ) -> Recording:
        """Begin to record rows; they come to stand whether or not anybody waits for it. See ``stands``.

        ``settlement`` is booked in Valkey as well, once the rows stand. Rows that nobody will wait for at once may linger.
        """
        recording = self.recorder.submit(events, usage, ledger, lingers=lingers)
        recording.add_done_callback(partial(self._tell, grant, bool(events), settlement))
        return recording

    async def stands(self, recording: Recording) -> None:
        """Return when the rows stand. PostgreSQL away: ``StoreUnavailable``, and what they decided is not answered."""
        try:
            await recording
        except NotRecorded as error:
            metrics.NOT_RECORDED.inc()
            raise StoreUnavailable("The call cannot be recorded just now, so it is not answered.") from error

    async def record(self, grant: Grant, events: Rows, usage: Rows) -> None:
        """Record rows and return when they stand; fails as ``stands`` does."""
        await self.stands(self.submit(grant, events, usage))

    def _tell(self, grant: Grant, has_events: bool, settlement: Settlement | None, recording: asyncio.Future) -> None:
        if recording.cancelled() or recording.exception() is not None:
            return
        if has_events:
            self.tell_feed(grant.workspace_id)
        if settlement is not None:
            self.accounts.settle(settlement)

    def tell_feed(self, workspace_id: int) -> None:
        """There are new events. The feed looks by itself as well, so a hint that is lost costs it a second. One serves all of a moment."""
        if not self._told:
            asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_feeds)
        self._told.add(workspace_id)

    def _tell_feeds(self) -> None:
        told, self._told = self._told, set()
        for workspace_id in told:
            self.link.hint("PUBLISH", valkey.feed_channel(workspace_id), 1)


def _owner(grant: Grant, lineage: runs.Lineage) -> Grant:
    """The grant with the id of the key that the run belongs to."""
    return grant if lineage.key_id in (None, grant.key_id) else replace(grant, key_id=lineage.key_id)


def _run_limit(grant: Grant) -> runs.RunLimit | None:
    policy = grant.policy
    if policy is None or policy.max_runs_per_key_per_hour is None:
        return None
    return runs.RunLimit(policy.max_runs_per_key_per_hour, not policy.shadow_mode)


def _counted(run: selectors.RunTrace) -> runs.Counted:
    return run.run_id, run.calls, int(run.last_at.timestamp() * 1000)


def _remember(kept: OrderedDict, name: Hashable, value: object, limit: int) -> None:
    kept[name] = value
    kept.move_to_end(name)
    while len(kept) > limit:
        kept.popitem(last=False)


def _begun_by(begin_by: float, function: Callable[..., T], arguments: tuple) -> T:
    if time.monotonic() > begin_by:
        raise TimeoutError("Others were before it for too long.")
    with transaction.atomic(), connection.cursor() as cursor:
        # Of the two halves of its time, all but a second: the statements themselves take milliseconds.
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{CHANGE_SECONDS / 2 - 1:g}s"])
        return function(*arguments)


def _with_connection(function, arguments):
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        close_old_connections()
