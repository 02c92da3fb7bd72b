"""A real database's catalog, as the gateway would load it, for tests."""

from typing import Any

import psycopg

from gateway.statements.catalog import Catalog, build_catalog
from gateway.statements.catalog_rows import CATALOG_QUERIES, CatalogRows


def load_catalog(connection: "psycopg.Connection[Any]") -> Catalog:
    """Through the queries of the gateway. Leaves search_path at ''."""
    major = connection.info.server_version // 10000
    answers = {}
    for query in CATALOG_QUERIES:
        if query.min_major <= major:
            rows = connection.execute(query.sql).fetchall()
            if query.name:
                answers[query.name] = rows
    return build_catalog(CatalogRows.from_answers(answers), major)
