"""What `policy explain` shows: the verdict, where in the text, and what else is known of it."""

from typing import Final

from gateway.cli import grant_limits, grant_reading
from gateway.cli.output import JsonValue, Record, say, visible
from gateway.services.policy import Explanation, Granted

_WINDOW: Final = 60


def record_of(found: Explanation, granted: Granted) -> Record:
    return {
        "allowed": found.allowed,
        "mode": found.mode.value,
        "rule": found.rule,
        "sqlstate": found.sqlstate,
        "message": found.message,
        "hint": found.hint,
        "position": found.position,
        "kind": found.kind,
        "tables": found.tables,
        "functions": found.functions,
        "edited": found.sent_as is not None,
        "sent_as": found.sent_as,
        "notice": found.notice,
        "node": found.node,
        "row_ceiling": found.row_ceiling,
        "reported": found.reported,
        "max_rows": granted.reading.max_rows,
        "max_bytes": granted.reading.max_bytes,
        "statement_timeout_ms": granted.statement_timeout_ms,
        "lifts_read_only": found.lifts_read_only,
    }


def show_explanation(sql: bytes, found: Record) -> None:
    mode, position = found.get("mode"), found.get("position")
    if found.get("allowed"):
        say(f"allowed in {mode} mode")
        if found.get("reported"):
            say(f"reported only, by rule {found.get('reported')}: {found.get('message')}")
        if found.get("row_ceiling"):
            say(f"rolled back if it changes more than {found.get('row_ceiling')} rows")
        if cut := grant_reading.reading_text({name: found.get(name) for name in ("max_rows", "max_bytes")}):
            say(f"cut with an error beyond: {', '.join(cut)}")
        if isinstance(most := found.get("statement_timeout_ms"), int):
            say(f"cancelled when it runs for more than {grant_limits.duration_text(most)}")
        if found.get("lifts_read_only"):
            say("by itself, outside of a transaction block")
    else:
        say(f"refused in {mode} mode by rule {found.get('rule')} (SQLSTATE {found.get('sqlstate')})")
        say("")
        say(f"  {found.get('message')}")
        _caret(sql.decode("utf-8", "replace"), position if isinstance(position, int) else 0)
        if found.get("hint"):
            say("")
            say(f"  hint: {found.get('hint')}")
    say("")
    for heading, name in (
        ("statements", "kind"),
        ("relations", "tables"),
        ("functions", "functions"),
        ("sent as", "sent_as"),
        ("notice", "notice"),
        ("decided by", "node"),
    ):
        _line(heading, found.get(name))


def _line(heading: str, value: JsonValue) -> None:
    values = list(value) if isinstance(value, list | tuple) else [value] if value else []
    if values:
        say(f"  {heading:<11}{', '.join(str(each) for each in values)}")


def _caret(text: str, position: int) -> None:
    """The line that the position is in, cut to a window around it, with a caret below. Nothing when there is no position."""
    from rich.cells import cell_len

    if not 1 <= position <= len(text) + 1:
        return
    before = text[: position - 1].rpartition("\n")[2]
    after = text[position - 1 :].partition("\n")[0]
    left = ("..." if len(before) > _WINDOW else "") + visible(before[-_WINDOW:])
    right = visible(after[:_WINDOW]) + ("..." if len(after) > _WINDOW else "")
    number = text.count("\n", 0, position - 1) + 1
    prefix = f"  line {number}: "
    say("")
    say(f"{prefix}{left}{right}")
    say(f"{' ' * (len(prefix) + cell_len(left))}^")
