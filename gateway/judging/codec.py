"""What goes over the pipe between the gateway and a judging child: JSON in length-prefixed frames, nothing executable.

A request is a policy and a text, a reply one verdict. The gateway trusts neither the child's liveness nor its memory, but the
verdict it hands back is the policy's own word.
"""

import json
import struct
from functools import lru_cache
from typing import Final

from gateway.access_mode import AccessMode
from gateway.statements.catalog import CatalogError, build_catalog
from gateway.statements.catalog_rows import CatalogRows
from gateway.statements.policy import Caps, Policy
from gateway.statements.verdict import Facts, LabelEdit, ValueEdit, Verdict

LENGTH: Final = struct.Struct("!I")


class CodecError(Exception):
    """A frame that is not what the other side would have written."""


@lru_cache(maxsize=32)
def _policy_json(policy: Policy) -> bytes:
    caps, catalog = policy.caps, policy.catalog
    return json.dumps(
        {
            "mode": policy.mode.value,
            "functions": sorted(policy.allowed_functions),
            "schemas": sorted(policy.allowed_schemas),
            "settings": sorted(policy.allowed_settings),
            "major": policy.server_major,
            "max_bytes": policy.max_statement_bytes,
            "catalog": None if catalog is None else [catalog.rows.as_answers(), catalog.server_major, catalog.stale],
            "caps": [caps.timeout_milliseconds, caps.work_mem_kilobytes, caps.hash_mem_multiplier, caps.parallel_workers],
        }
    ).encode()


@lru_cache(maxsize=16)
def _policy(encoded: bytes) -> Policy:
    raw = json.loads(encoded)
    timeout, memory, multiplier, workers = raw["caps"]
    catalog = None
    if raw["catalog"] is not None:
        rows, major, stale = raw["catalog"]
        catalog = build_catalog(CatalogRows.from_answers(rows), int(major))
        catalog = catalog.as_stale() if stale else catalog
    return Policy(
        AccessMode(raw["mode"]),
        frozenset(raw["functions"]),
        frozenset(raw["schemas"]),
        frozenset(raw["settings"]),
        int(raw["major"]),
        int(raw["max_bytes"]),
        Caps(int(timeout), int(memory), float(multiplier), int(workers)),
        catalog,
    )


def encode_request(sql: bytes, policy: Policy) -> bytes:
    """One whole frame."""
    head = _policy_json(policy)
    return b"".join((LENGTH.pack(LENGTH.size + len(head) + len(sql)), LENGTH.pack(len(head)), head, sql))


def decode_request(payload: bytes) -> tuple[bytes, Policy]:
    """The text and the policy of a frame's payload. Raises CodecError."""
    try:
        (size,) = LENGTH.unpack_from(payload)
        end = LENGTH.size + size
        return payload[end:], _policy(payload[LENGTH.size : end])
    except (struct.error, ValueError, KeyError, TypeError, CatalogError) as error:
        raise CodecError("bad request") from error


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
        ]
    ).encode()
    return LENGTH.pack(len(body)) + body


def decode_reply(payload: bytes) -> Verdict:
    """The verdict of a frame's payload. Raises CodecError."""
    try:
        allowed, rule, (kind, tables, functions, names), sqlstate, message, hint, position, edits, notice, node = json.loads(
            payload
        )
        if allowed is not True and allowed is not False:
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
        )
    except (ValueError, TypeError) as error:
        raise CodecError("bad reply") from error


def _edit(kind: str, start: int, end: int, text: str, after: str = "") -> LabelEdit | ValueEdit:
    return (
        LabelEdit(int(start), int(end), str(text), str(after))
        if kind == "label"
        else ValueEdit(int(start), int(end), str(text))
    )
