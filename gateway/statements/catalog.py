"""What a database's owners put into it, as far as it can run code or reach elsewhere: a value, built from plain rows."""

import json
from dataclasses import dataclass
from hashlib import sha256

from gateway.statements.catalog_rows import CatalogRows


@dataclass(frozen=True, slots=True)
class Catalog:
    """`revision` is a digest of the content. `stale`: too old to be relied on, see `policy.Policy`."""

    rows: CatalogRows
    server_major: int
    revision: str
    stale: bool = False

    def as_stale(self) -> "Catalog":
        """The same, too old to be relied on: what depends on users' objects is refused (rule catalog-stale)."""
        return Catalog(self.rows, self.server_major, f"{self.revision}-stale", stale=True)


def build_catalog(rows: CatalogRows, server_major: int) -> Catalog:
    """The catalog of a database whose owners' objects are `rows`. Raises CatalogError for rows that no query of ours answers."""
    content = json.dumps([server_major, rows.as_answers()]).encode()
    return Catalog(rows, server_major, sha256(content).hexdigest()[:16])
