"""What the tour checks its words against: the audit, and upstream asked directly."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.demo.sample import connect_superuser, count_rows
from gateway.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Evidence:
    """What has to be in the audit: an event with this name and, where given, these values."""

    what: str
    event: str
    sql: str | None = None
    verdict: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of `pgbastion audit search --json`, as far as the tour is concerned. Absent fields are empty."""

    at: str
    event: str
    who: str
    session: str
    sql: str
    verdict: str
    rule: str
    reason: str

    @property
    def time(self) -> str:
        """To the millisecond, without the date."""
        return self.at.partition("T")[2][:12]

    @property
    def remark(self) -> str:
        return " ".join(dict.fromkeys(part for part in (self.verdict, self.rule, self.reason) if part))


def read_audit(stage: Stage) -> Sequence[AuditRecord]:
    """All of it, by the CLI."""
    return [_parse(line) for line in stage.admin.ask("audit", "search", "--json").splitlines() if line.strip()]


def _parse(line: str) -> AuditRecord:
    fields = json.loads(line)

    def text(*names: str) -> str:
        return next((str(fields[name]) for name in names if fields.get(name) is not None), "")

    return AuditRecord(
        at=text("at"),
        event=text("action", "event"),
        who=text("actor", "user", "address"),
        session=text("session"),
        sql=text("sql"),
        verdict=text("verdict", "outcome"),
        rule=text("rule"),
        reason=text("reason"),
    )


def find_record(records: Sequence[AuditRecord], evidence: Evidence) -> AuditRecord | None:
    """The newest that fits."""
    return next((record for record in reversed(records) if _fits(record, evidence)), None)


def _fits(record: AuditRecord, evidence: Evidence) -> bool:
    return (
        record.event == evidence.event
        and evidence.sql in (None, record.sql)
        and evidence.verdict in (None, record.verdict)
        and evidence.session in (None, record.session)
    )


def instant_of(record: AuditRecord) -> float:
    """The record's instant in seconds since the epoch."""
    return datetime.fromisoformat(record.at).timestamp()


def upstream_activity(stage: Stage, like: str = "%") -> list[str]:
    """application_name of the gateway's upstream sessions whose query is like that; active ones, unless all are asked for."""

    async def ask() -> list[str]:
        connection = await connect_superuser(stage.upstream, "postgres")
        try:
            found = await connection.fetch(
                "SELECT application_name FROM pg_stat_activity "
                "WHERE usename = ANY ($1) AND query LIKE $2 AND (state = 'active' OR $2 = '%')",
                [stage.sample.read_only.name, stage.sample.read_write.name],
                like,
            )
        finally:
            await connection.close()
        return [str(row["application_name"]) for row in found]

    return asyncio.run(ask())


def upstream_rows(stage: Stage) -> int:
    """All rows of the sample database, counted around the gateway."""

    async def ask() -> int:
        connection = await connect_superuser(stage.upstream, stage.sample.name)
        try:
            return await count_rows(connection)
        finally:
            await connection.close()

    return asyncio.run(ask())
