"""Entries of the corpora, as one shape: what a client sends, and whether it has to be refused."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import wire

#: The folder of a larger set: roles.sql, template.sql, template15.sql, grants.sql, corpus.jsonl.
STUDY_VARIABLE = "PGBASTION_POLICY_STUDY"
# Of the study, what passes for a reason: this one executes a statement that nobody prepared, which no server does.
_PASSES = frozenset({"b-prepare-008"})
_HERE = Path(__file__).parent
_POLICY = _HERE.parent / "policy"
_OWN = (_POLICY / "corpus.jsonl", _POLICY / "own.jsonl")


@dataclass(frozen=True, slots=True)
class Startup:
    """A login of its own, with these parameters."""

    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One text, to be sent in whatever way is tried."""

    sql: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes of the protocol; `answered` when a ReadyForQuery comes back."""

    data: bytes
    answered: bool


@dataclass(frozen=True, slots=True)
class TypedParse:
    """A Parse whose parameter types have to be looked up in the database."""

    name: str
    sql: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """The Function Call message."""

    function: str
    arguments: tuple[str, ...]


Step = Startup | Query | Send | TypedParse | Call


@dataclass(frozen=True, slots=True)
class Setting:
    """Statements run in the database beforehand, and what an admin lists for the target."""

    setup: str = ""
    schemas: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


PLAIN = Setting()


@dataclass(frozen=True, slots=True)
class Entry:
    """`place`: what it needs of its own. `optional`: how it should go is a choice; a difference is told, and fails nothing."""

    id: str
    layer: str
    refuse: bool
    why: str
    steps: tuple[Step, ...]
    place: Setting = PLAIN
    copy_data: bytes = b""
    needs: tuple[str, ...] = ()
    min_major: int = 0
    max_major: int = 99
    optional: bool = False

    def runs_on(self, major: int, extensions: frozenset[str]) -> bool:
        return self.min_major <= major <= self.max_major and set(self.needs) <= extensions

    @property
    def text(self) -> str | None:
        """The only text, if there is just one and it is text."""
        match self.steps:
            case (Query(sql),):
                try:
                    return sql.decode()
                except UnicodeDecodeError:
                    return None
        return None

    @property
    def plain(self) -> bool:
        """Nothing but texts: it can be sent in other ways."""
        return all(isinstance(step, Query) and b"\0" not in step.sql for step in self.steps)


def business_entries() -> list[Entry]:
    """For template.sql of this folder."""
    lines = [fields for path in (*_OWN, _HERE / "traps.jsonl") for fields in _read(path)]
    return [_own(fields) for fields in lines if "database" not in fields]


def object_entries() -> list[Entry]:
    """For tests/policy/objects.sql."""
    return [_own(fields) for fields in _read(_POLICY / "own.jsonl") if fields.get("database") == "objects"]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def study_folder() -> Path | None:
    named = os.environ.get(STUDY_VARIABLE)
    return Path(named) if named else None


def study_entries(folder: Path) -> list[Entry]:
    decided = {fields["id"]: fields for path in _OWN for fields in _read(path)}
    return [
        _study(fields, decided.get(fields["id"], {}))
        for fields in _read(folder / "corpus.jsonl")
        if fields.get("oracle") != "skip"
    ]


def _own(fields: dict[str, Any]) -> Entry:
    return Entry(
        fields["id"],
        fields["layer"],
        fields["expect"] == "refuse",
        fields["why"],
        tuple(made for step in fields["steps"] for made in _own_step(step)),
        Setting(fields.get("setup", ""), tuple(fields.get("schemas", ())), tuple(fields.get("lists", ()))),
        needs=tuple(fields.get("needs", ())),
        min_major=fields.get("min_major", 0),
        max_major=fields.get("server_major", fields.get("max_major", 99)),
        optional=_about_extensions(fields),
    )


def _about_extensions(fields: dict[str, Any]) -> bool:
    """Refused where no catalog is known; here there is one, with the extension in it."""
    return bool(fields.get("decided", "").startswith("extension functions"))


def _own_step(step: dict[str, Any]) -> list[Step]:
    if "startup" in step:
        return [Startup(tuple(step["startup"].items()))]
    if "hex" in step:
        return [Query(bytes.fromhex(step["hex"]))]
    if "raw" in step:
        return [Send(bytes.fromhex(step["raw"]), True)]
    if "repeat" in step:
        return [Query("".join(text * times for text, times in step["repeat"]).encode())]
    if "call" in step:
        return [Call(step["call"][0], tuple(step["call"][1:]))]
    if "oid_types" in step or "oids" in step:
        types = tuple(step.get("oid_types", ())) + tuple(str(oid) for oid in step.get("oids", ()))
        run = wire.bind(values=[b"1"] * parameters_in(step["sql"].encode())) + wire.execute() + wire.SYNC
        return [TypedParse("", step["sql"], types), Send(run, True)]
    return [Query(step["sql"].encode())]


def _study(fields: dict[str, Any], decided: dict[str, Any]) -> Entry:
    """`decided`: our own entry of that name, where a choice may have been taken otherwise."""
    if "sql" in fields:
        steps: list[Step] = [Query(fields["sql"].encode())]
    elif "generate" in fields:
        steps = [Query("".join(text * times for text, times in fields["generate"]).encode())]
    else:
        steps = [_message(message) for message in fields["messages"]]
    refuse = decided["expect"] == "refuse" if "decided" in decided else fields["expect"] == "block"
    refuse = refuse and fields["id"] not in _PASSES
    refuse = refuse and "upstream" not in fields  # made harmless by what the gateway asks of the server
    return Entry(
        fields["id"],
        fields["layer"],
        refuse,
        fields["why"],
        tuple(steps),
        Setting(fields.get("setup") or ""),
        copy_data=(fields.get("copy_data") or "").encode(),
        needs=tuple(fields.get("needs") or ()),
        min_major=fields.get("min_pg") or 0,
        max_major=fields.get("max_pg") or 99,
        optional=_about_extensions(decided) or ("choice" in fields and "decided" not in decided),
    )


def _message(message: dict[str, Any]) -> Step:
    match message["op"]:
        case "startup":
            return Startup(tuple(message["params"].items()))
        case "query":
            return Query(bytes.fromhex(message["hex"]) if "hex" in message else message["sql"].encode())
        case "parse" if message.get("oid_types"):
            return TypedParse(message.get("name", ""), message["sql"], tuple(message["oid_types"]))
        case "parse":
            sql = bytes.fromhex(message["hex"]) if "hex" in message else message["sql"]
            return Send(wire.parse(sql, message.get("name", ""), message.get("oids", ())), False)
        case "bind":
            values = [None if value is None else value.encode() for value in message.get("params", ())]
            return Send(wire.bind(message.get("stmt", ""), message.get("portal", ""), values), False)
        case "describe":
            return Send(wire.describe(message.get("kind", "S"), message.get("name", "")), False)
        case "execute":
            return Send(wire.execute(message.get("portal", ""), message.get("max_rows", 0)), False)
        case "close":
            return Send(wire.close(message["kind"], message["name"]), False)
        case "flush":
            return Send(wire.FLUSH, False)
        case "sync":
            return Send(wire.SYNC, True)
        case "function_call":
            return Call(message["fn"], tuple(message["args"]))
        case "raw":
            return Send(bytes.fromhex(message["hex"]), True)
        case unknown:
            raise ValueError(f"no such step: {unknown}")


def parameters_in(sql: bytes) -> int:
    """How many values a Bind of this text wants, as far as can be seen."""
    return max((int(number) for number in re.findall(rb"\$(\d{1,3})", sql)), default=0)
