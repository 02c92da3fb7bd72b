"""Which tables a SELECT ... FOR UPDATE, or one of its kin, locks rows of. Pure."""

from gateway.statements.parse import Fields, Json


def locked(select: Fields, named: Json) -> list[Fields]:
    """The relations in FROM whose rows are locked. `named`: the clause's list of those; without one, all."""
    only = _aliases(named) if isinstance(named, list) else None
    found: list[Fields] = []
    stack: list[tuple[Json, frozenset[str] | None]] = [(select.get("fromClause"), only)]
    while stack:
        value, wanted = stack.pop()
        if isinstance(value, list):
            stack.extend((item, wanted) for item in value)
            continue
        for tag, node in value.items() if isinstance(value, dict) else ():
            if not isinstance(node, dict):
                continue
            match tag:
                case "RangeVar" if wanted is None or _alias(node) in wanted:
                    found.append(node)
                case "RangeSubselect" if wanted is None or _alias(node) in wanted:
                    stack.extend((each, None) for each in _arms(node.get("subquery")))
                case "JoinExpr":
                    stack += [(node.get("larg"), wanted), (node.get("rarg"), wanted)]
                case "RangeTableSample":
                    stack.append((node.get("relation"), wanted))
    return found


def _arms(query: Json) -> list[Json]:
    """The FROM clauses of a SELECT, or of all parts of a UNION and its kin."""
    first = query.get("SelectStmt") if isinstance(query, dict) else None
    found: list[Json] = []
    stack = [first]
    while stack:
        select = stack.pop()
        if isinstance(select, dict):
            found.append(select.get("fromClause"))
            stack += [select.get("larg"), select.get("rarg")]
    return found


def _alias(node: Fields) -> str:
    alias = node.get("alias")
    return str(alias.get("aliasname")) if isinstance(alias, dict) else str(node.get("relname", ""))


def _aliases(named: list[Json]) -> frozenset[str]:
    found = (item.get("RangeVar") for item in named if isinstance(item, dict))
    return frozenset(str(each.get("relname")) for each in found if isinstance(each, dict))
