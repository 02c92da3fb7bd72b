"""What particular programs send and could not do without, made harmless by an edit instead of being refused.

DataGrip and its siblings read `txid_current()` on a primary to see what has changed since the last look. The call assigns a
transaction id, which is a write; the next id to be assigned tells them the same and assigns nothing.
"""

import re
from typing import Final

from gateway.statements.verdict import ValueEdit

_ASKED_ON_A_PRIMARY: Final = re.compile(rb"pg_is_in_recovery\s*\(\s*\)\s+then\s+null\s+else\b[^;]*txid_current", re.I)
_CALL: Final = re.compile(rb"(?:pg_catalog\s*\.\s*)?txid_current\s*\(\s*\)", re.I)
_NEXT_ID: Final = "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())"


def next_id_instead(name: str, offset: int | None, sql: bytes) -> ValueEdit | None:
    """The edit for a call of the function `name` at `offset`, when it is this question; else None."""
    if name != "txid_current" or offset is None or not _ASKED_ON_A_PRIMARY.search(sql):
        return None
    found = _CALL.match(sql, offset)
    return ValueEdit(*found.span(), _NEXT_ID) if found else None
