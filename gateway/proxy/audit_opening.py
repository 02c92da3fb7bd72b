"""The audit trail that the settings ask for."""

import asyncio
from pathlib import Path

from gateway.proxy.audit_copies import open_copies
from gateway.proxy.audit_synced import SyncedAuditTrail
from gateway.proxy.audit_trail import AuditTrail
from gateway.proxy.counters import Counters
from gateway.settings import Audit


def open_trail(
    directory: Path, worker: int, audit: Audit, loop: asyncio.AbstractEventLoop, counters: Counters | None = None
) -> AuditTrail:
    """Raises AuditFileError."""
    kind = SyncedAuditTrail if audit.durability == "fsync" else AuditTrail
    counters = counters or Counters()
    copies = open_copies(directory, audit, counters)
    return kind(directory, worker, audit.rotate_bytes, loop, counters=counters, copies=copies)
