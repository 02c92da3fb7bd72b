"""What goes over the pipe between the gateway and a judging child: JSON in length-prefixed frames, nothing executable.

A request is a policy and a text, a reply one verdict; or it asks for a text's way out. A catalog is sent once, ahead of the
requests that name its revision. The gateway trusts neither the child's liveness nor its memory, but the verdict it hands back is
the policy's own word.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gateway.access_mode import AccessMode, GrantOption
from gateway.judging.ways_out import Search, Sought, WayOut
from gateway.statements.addressed_plain import read_plain, write_plain
from gateway.statements.catalog import Catalog, CatalogError, build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.limits import Bounds, Caps
from gateway.statements.only_these import OnlyThese
from gateway.statements.policy import Policy
from gateway.statements.verdict import Facts, LabelEdit, ValueEdit, Verdict

LENGTH: Final = struct.Struct("!I")
#: A child keeps so many catalogs, the last that it was sent; whoever sends them counts along.
CATALOGS_KEPT: Final = 8
_POLICIES_KEPT: Final = 64
_CATALOG: Final = b"C"
_REQUEST: Final = b"J"
_SEARCH: Final = b"W"
_POLICIES_OF_SEARCH: Final = 4
_PARTS_BEFORE: Final = 2  # the first row's name
_ROWS_AT_ONCE: Final = 100


class CodecError(Exception):
    """A frame that is not what the other side would have written."""


def encode_catalog(catalog: Catalog) -> bytes:
    """One whole frame, of megabytes for a large database. It comes before the first request that needs it."""
    parts = [_CATALOG, b"[{"]
    for name, rows in catalog.rows.as_answers().items():
        parts.append(b"%b%b:[" % (b"," if len(parts) > _PARTS_BEFORE else b"", json.dumps(name).encode()))
        parts.append(b",".join(_encoded_rows(rows)))
        parts.append(b"]")
    parts.append(b"},%b]" % json.dumps([catalog.server_major, catalog.stale])[1:-1].encode())
    return LENGTH.pack(sum(map(len, parts))) + b"".join(parts)


def _encoded_rows(rows: Sequence[Sequence[str | None]]) -> Iterator[bytes]:
    """In pieces: JSON's encoder lets no other thread run before it is done, the event loop's least of all."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield json.dumps(rows[start : start + _ROWS_AT_ONCE])[1:-1].encode()


def encode_request(sql: bytes, policy: Policy) -> bytes:
    """One whole frame. The policy's catalog stands in it by its revision."""
    return _frame(_REQUEST, (policy,), sql)


def encode_search(search: Search) -> bytes:
    """One whole frame."""
    return _frame(_SEARCH, (search.policy, search.reading, search.writing, search.there), search.sql)


def _frame(kind: bytes, policies: Iterable[Policy], sql: bytes) -> bytes:
    heads = [_kept_head(policy) for policy in policies]
    parts = [kind, *(part for head in heads for part in (LENGTH.pack(len(head)), head)), sql]
    return b"".join((LENGTH.pack(sum(map(len, parts))), *parts))


_heads: Final[dict[int, tuple[Policy, bytes]]] = {}  # by the policy's identity, which no other has while it stands here


def _kept_head(policy: Policy) -> bytes:
    """Lists of a target may be long, and sessions share policies."""
    known = _heads.get(id(policy))
    if known is None:
        if len(_heads) >= _POLICIES_KEPT:
            _heads.clear()
        known = _heads[id(policy)] = policy, _head(policy)
    return known[1]


def _head(policy: Policy) -> bytes:
    caps, bounds, catalog = policy.caps, policy.bounds, policy.catalog
    return json.dumps(
        {
            "mode": policy.mode.value,
            "functions": sorted(policy.allowed_functions),
            "schemas": sorted(policy.allowed_schemas),
            "settings": sorted(policy.allowed_settings),
            "major": policy.server_major,
            "max_bytes": policy.max_statement_bytes,
            "catalog": None if catalog is None else catalog.revision,
            "caps": [caps.timeout_milliseconds, caps.work_mem_kilobytes, caps.hash_mem_multiplier, caps.parallel_workers],
            "statement_milliseconds": caps.statement_milliseconds,
            "options": sorted(policy.options),
            "max_changed_rows": policy.max_changed_rows,
            "hide_activity": policy.hide_activity,
            "bounds": [bounds.tokens, bounds.nesting, bounds.comment_depth],
            "metered": policy.metered,
            "granted": None if policy.granted is None else policy.granted.key,
            "only": None if policy.only is None else policy.only.key,
        }
    ).encode()


class Requests:
    """What a child was told: the newest catalogs, and the policies made with them."""

    def __init__(self) -> None:
        self._catalogs: dict[str, Catalog] = {}
        self._policies: dict[bytes, Policy] = {}

    def decode(self, payload: bytes) -> tuple[bytes, Policy] | Search | None:
        """The text and the policy of a request, or what is to be sought; None for a catalog, which is kept. Raises CodecError."""
        kind, rest = payload[:1], payload[1:]
        try:
            if kind == _CATALOG:
                self._keep(rest)
                return None
            if kind == _SEARCH:
                policies, sql = self._policies_of(rest, _POLICIES_OF_SEARCH)
                return Search(sql, *policies)
            if kind != _REQUEST:
                raise CodecError("bad frame")
            (policy,), sql = self._policies_of(rest, 1)
            return sql, policy
        except (struct.error, ValueError, KeyError, TypeError, CatalogError) as error:
            raise CodecError("bad request") from error

    def _policies_of(self, rest: bytes, count: int) -> tuple[list[Policy], bytes]:
        """So many, and what is behind them."""
        policies, at = [], 0
        for _ in range(count):
            (size,) = LENGTH.unpack_from(rest, at)
            at += LENGTH.size
            policies.append(self._policy(rest[at : at + size]))
            at += size
        return policies, rest[at:]

    def _keep(self, body: bytes) -> None:
        rows, major, stale = json.loads(body)
        catalog = build_catalog(CatalogRows.from_answers(rows), int(major))
        catalog = catalog.as_stale() if stale else catalog
        self._catalogs[catalog.revision] = catalog
        while len(self._catalogs) > CATALOGS_KEPT:
            del self._catalogs[next(iter(self._catalogs))]
        self._policies.clear()

    def _policy(self, head: bytes) -> Policy:
        found = self._policies.get(head)
        if found is None:
            if len(self._policies) >= _POLICIES_KEPT:
                self._policies.clear()
            found = self._policies[head] = self._read_policy(head)
        return found

    def _read_policy(self, head: bytes) -> Policy:
        raw = json.loads(head)
        timeout, memory, multiplier, workers = raw["caps"]
        statement = raw["statement_milliseconds"]
        return Policy(
            AccessMode(raw["mode"]),
            frozenset(raw["functions"]),
            frozenset(raw["schemas"]),
            frozenset(raw["settings"]),
            int(raw["major"]),
            int(raw["max_bytes"]),
            Caps(int(timeout), int(memory), float(multiplier), int(workers), None if statement is None else int(statement)),
            None if raw["catalog"] is None else self._catalogs[raw["catalog"]],
            frozenset(map(GrantOption, raw["options"])),
            None if raw["max_changed_rows"] is None else int(raw["max_changed_rows"]),
            raw["hide_activity"] is not False,
            Bounds(*map(int, raw["bounds"])),
            raw["metered"] is not False,
            None if raw["granted"] is None else GrantedRelations.from_key(raw["granted"]),
            None if raw["only"] is None else OnlyThese.from_key(raw["only"]),
        )


def encode_reply(verdict: Verdict) -> bytes:
    """One whole frame."""
    edits = [
        ["label", edit.start, edit.end, edit.value, edit.after]
        if isinstance(edit, LabelEdit)
        else ["value", edit.start, edit.end, edit.text]
        for edit in verdict.edits
    ]
    facts = verdict.facts
    body = json.dumps(
        [
            verdict.allowed,
            verdict.rule,
            [facts.kind, facts.tables, facts.functions, facts.names],
            verdict.sqlstate,
            verdict.message,
            verdict.hint,
            verdict.position,
            edits,
            verdict.notice,
            verdict.node,
            verdict.row_ceiling,
            verdict.lifts_read_only,
            verdict.reported,
            verdict.temporary_made,
            verdict.temporary_used,
            verdict.not_temporary,
            verdict.any_literals,
            verdict.metered,
            None if verdict.addressed is None else write_plain(verdict.addressed),
        ]
    ).encode()
    return LENGTH.pack(len(body)) + body


def encode_sought(sought: Sought) -> bytes:
    """One whole frame."""
    body = json.dumps(None if sought.way is None else [sought.way.mode.value, sought.way.exact]).encode()
    return LENGTH.pack(len(body)) + body


def decode_sought(payload: bytes) -> Sought:
    """Raises CodecError."""
    try:
        said = json.loads(payload)
        if said is None:
            return Sought(None)
        mode, exact = said
        if not isinstance(exact, bool):
            raise CodecError("bad reply")
        return Sought(WayOut(AccessMode(mode), exact))
    except (ValueError, TypeError) as error:
        raise CodecError("bad reply") from error


def decode_reply(payload: bytes) -> Verdict:
    """The verdict of a frame's payload. Raises CodecError."""
    try:
        allowed, rule, facts, sqlstate, message, hint, position, edits, notice, node, *effects = json.loads(payload)
        kind, tables, functions, names = facts
        row_ceiling, lifts_read_only, reported, made, used, others, any_literals, metered, ours = effects
        if not all(isinstance(each, bool) for each in (allowed, lifts_read_only, any_literals, metered)):
            raise CodecError("bad reply")
        return Verdict(
            allowed,
            str(rule),
            Facts(str(kind), tuple(map(str, tables)), tuple(map(str, functions)), tuple(map(str, names))),
            str(sqlstate),
            str(message),
            str(hint),
            int(position),
            tuple(_edit(*edit) for edit in edits),
            str(notice),
            str(node),
            int(row_ceiling),
            lifts_read_only,
            str(reported),
            tuple(map(str, made)),
            tuple(map(str, used)),
            tuple(map(str, others)),
            any_literals,
            metered,
            None if ours is None else read_plain(ours),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise CodecError("bad reply") from error


def _edit(kind: str, start: int, end: int, text: str, after: str = "") -> LabelEdit | ValueEdit:
    return (
        LabelEdit(int(start), int(end), str(text), str(after))
        if kind == "label"
        else ValueEdit(int(start), int(end), str(text))
    )
