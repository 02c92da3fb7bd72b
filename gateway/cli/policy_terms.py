"""What a grant would carry, as `policy` takes it: the same options as `grants` has, for statements that are only judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import typer

from gateway.access_mode import AccessMode, GrantOption
from gateway.cli.grant_limits import parse_ceiling, parse_duration
from gateway.cli.grant_reading import parse_size
from gateway.cli.output import JsonValue
from gateway.services.grant_terms import Terms, read_schemas, read_tables
from gateway.services.policy import Granted


@dataclass(frozen=True, slots=True)
class AsIf:
    """The options as they were given."""

    options: Sequence[GrantOption]
    max_changed_rows: int | None
    statement_timeout: str | None
    max_rows: str | None
    max_bytes: str | None
    schemas: Sequence[str]
    tables: Sequence[str]

    @property
    def record(self) -> dict[str, JsonValue]:
        """What was given, as the API wants it."""
        found: dict[str, JsonValue] = {
            "options": [option.value for option in dict.fromkeys(self.options)],
            "max_changed_rows": self.max_changed_rows,
            "statement_timeout_ms": None if self.statement_timeout is None else parse_duration(self.statement_timeout),
            "max_rows": None if self.max_rows is None else parse_ceiling(self.max_rows),
            "max_bytes": None if self.max_bytes is None else parse_size(self.max_bytes),
            "schemas": list(self.schemas),
            "tables": list(self.tables),
        }
        return {name: value for name, value in found.items() if value not in (None, [])}

    def granted(self, mode: AccessMode) -> Granted:
        terms = Terms(
            options=frozenset(self.options),
            max_changed_rows=self.max_changed_rows,
            statement_timeout_ms=None if self.statement_timeout is None else parse_duration(self.statement_timeout),
            max_rows=None if self.max_rows is None else parse_ceiling(self.max_rows),
            max_bytes=None if self.max_bytes is None else parse_size(self.max_bytes),
            schemas=read_schemas(self.schemas),
            tables=read_tables(self.tables),
        )
        return Granted.by(terms, mode)


def check_grant_alone(grant: str | None, as_if: AsIf, *others: object) -> None:
    """Raises typer.BadParameter."""
    if grant is not None and (as_if.record or any(others)):
        raise typer.BadParameter("--grant says it all: give neither a target, lists nor limits with it")
