"""The policies of one worker: one memory of verdicts for each, shared by all sessions under it."""

from dataclasses import dataclass, replace
from typing import Final

from gateway.access.model import Lease, Target
from gateway.access_mode import AccessMode
from gateway.judging.ways_out import Search
from gateway.proxy.asked_for import only_these
from gateway.session.verdicts import Judged, PolicyInForce
from gateway.settings import CurrentSettings, Settings
from gateway.statements.catalog import Catalog
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.policy import Policy

_REMEMBERED: Final = 1000
_PREPARED_KEPT: Final = 100
_MODES: Final = (AccessMode.READ_ONLY, AccessMode.READ_WRITE)


@dataclass(frozen=True, slots=True)
class _Made:
    """A policy, and what it was made of besides what it is remembered by."""

    policy: Policy
    target: Target
    settings: Settings


@dataclass(frozen=True, slots=True)
class _Plain(_Made):
    """Of grants that carry nothing: `policy` knows what is in the database, the others do not."""

    reading: Policy
    writing: Policy


class Policies:
    """One memory of verdicts per policy, shared by all sessions under it."""

    def __init__(self, current: CurrentSettings) -> None:
        self._current = current
        self._in_force: dict[str, PolicyInForce] = {}
        self._prepared: dict[str, Policy] = {}
        self._plain: dict[tuple[str, int, AccessMode], _Plain] = {}
        self._made: dict[tuple[object, ...], _Made] = {}  # what a policy's revision is worked out from is much

    def policy_of(self, lease: Lease, server_major: int, catalog: Catalog | None = None) -> Policy:
        """`catalog`: of the session's database; None only where no statement is judged, or in modes that need none."""
        target, settings = lease.target, self._current.now
        statement_ms = lease.limits.statement_timeout_ms
        reading = lease.reading
        key = (
            *(target.id, lease.mode, server_major, lease.options, lease.max_changed_rows, statement_ms, catalog is None),
            *(reading.is_metered, reading.schemas, reading.tables, lease.only),
        )
        made = self._made.get(key)
        if made is None or made.target is not target or made.settings is not settings or made.policy.catalog is not catalog:
            policy = _granted(self.plain_policy(target, lease.mode, server_major, catalog), lease)
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            made = self._made[key] = _Made(policy, target, settings)
        return made.policy

    def plain_policy(self, target: Target, mode: AccessMode, server_major: int, catalog: Catalog | None) -> Policy:
        """Of a grant that carries nothing."""
        settings = self._current.now
        return Policy(
            mode=mode,
            allowed_functions=target.allowed_functions,
            allowed_schemas=target.allowed_schemas,
            allowed_settings=target.allowed_settings,
            server_major=server_major,
            max_statement_bytes=settings.limits.max_statement_bytes,
            caps=settings.statement_caps.caps,
            catalog=catalog,
            hide_activity=settings.policy.other_sessions == "hidden",
            bounds=settings.limits.bounds,
        )

    def search_of(self, judged: Judged, target: Target, server_major: int) -> Search:
        """For the way out of a refused text. It was refused under a policy."""
        policy = judged.policy
        if policy is None:
            raise ValueError("what has no text was not refused")
        settings = self._current.now
        key = target.id, server_major, policy.mode
        plain = self._plain.get(key)
        if (
            plain is None
            or plain.target is not target
            or plain.settings is not settings
            or plain.policy.catalog != policy.catalog
        ):
            reading, writing = (self.plain_policy(target, mode, server_major, None) for mode in _MODES)
            there = replace(reading, catalog=policy.catalog)
            if len(self._plain) >= _REMEMBERED:
                self._plain.clear()
            plain = self._plain[key] = _Plain(there, target, settings, reading, writing)
        return Search(judged.sql, policy, plain.reading, plain.writing, plain.policy)

    def prepare(self, target: Target, mode: AccessMode, catalog: Catalog) -> None:
        """In a thread: work out what judging by a new catalog needs."""
        policy = self.plain_policy(target, mode, catalog.server_major, catalog)
        policy.prepare()
        self._prepared[policy.revision] = policy
        for revision in list(self._prepared)[:-_PREPARED_KEPT]:  # of catalogs by which nobody asked in the end
            self._prepared.pop(revision, None)

    def superseded(self, catalog: Catalog) -> None:
        """Nobody is judged by this catalog any more."""
        for revision in [key for key, found in self._in_force.items() if found.policy.catalog == catalog]:
            del self._in_force[revision]
        for key in [key for key, made in self._made.items() if made.policy.catalog == catalog]:
            del self._made[key]
        self._plain.clear()
        for revision, policy in list(self._prepared.items()):
            if policy.catalog == catalog:
                self._prepared.pop(revision, None)

    def in_force(self, policy: Policy) -> PolicyInForce:
        found = self._in_force.get(policy.revision)
        if found is None:
            settings = self._current.now
            limits = settings.policy
            policy = self._prepared.pop(policy.revision, policy)
            if len(self._in_force) >= _REMEMBERED:  # policies come and go with edits; sessions keep theirs alive
                self._in_force.clear()
            found = PolicyInForce(
                policy, limits.verdict_cache_entries, limits.verdict_cache_bytes, settings.audit.max_statement_bytes
            )
            self._in_force[policy.revision] = found
        return found

    def forget(self) -> None:
        """Settings changed: what is asked for next is made anew."""
        self._in_force.clear()
        self._made.clear()
        self._plain.clear()


def _granted(policy: Policy, lease: Lease) -> Policy:
    """What the grant adds to the policy of its target and mode, or takes from it."""
    caps = replace(policy.caps, statement_milliseconds=lease.limits.statement_timeout_ms)
    reading = lease.reading
    return replace(
        policy,
        options=lease.options,
        max_changed_rows=lease.max_changed_rows,
        caps=caps,
        metered=reading.is_metered,
        granted=GrantedRelations(reading.schemas, reading.tables) if reading.is_narrow else None,
        only=only_these(lease.only),
    )
