"""The read-only walk over one statement's parse tree: every node known, every name allowed, or a refusal.

One loop without recursion, because the tree's depth is the client's choice. Each dict key is looked up once: a class or field
that is neither plain nor has a rule (see `walk_rules`) is refused. Order of the walk does not matter: one refusal is enough.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.statements import names, refusal
from gateway.statements.catalog_objects import Relation
from gateway.statements.catalogue import (
    ACTIVITY_RELATIONS,
    DENIED_RELATIONS,
    SECRET_COLUMNS,
)
from gateway.statements.literals import Wording
from gateway.statements.names import SYSTEM_SCHEMAS, Listed
from gateway.statements.openings import Openings
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.refusal import Refusal
from gateway.statements.verdict import LabelEdit, ValueEdit
from gateway.statements.walk_rules import RULES, Rules
from gateway.statements.words import statement_words

SetConfigRule = Callable[[Fields], Refusal | LabelEdit | None]
InnerRule = Callable[["Walk", Fields, tuple[str, ...], Refusal], Refusal | None]


@dataclass(slots=True)
class Walk:
    """The walk's surroundings, and what it found. `set_config` judges calls of that function (see settings.py).

    `dotted` are column references that may be calls, `closed` the relations named that have columns of types which are not open
    (both need a second look). `is_definition`: the server wrote this text, and writes calls with brackets only. `written` are
    tables that must be temporary ones of the session's, `keeps`: what is read goes into such a table,
    `relied`: relations that must not be such tables. `inner` may take a refused call of PostgreSQL's own that runs a text.
    """

    listed: Listed
    server_major: int
    set_config: SetConfigRule
    wording: Wording = field(default_factory=lambda: Wording(b""))
    tables: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    ctes: set[str] = field(default_factory=set)
    secret: set[str] = field(default_factory=set)
    edits: list[LabelEdit | ValueEdit] = field(default_factory=list)
    dotted: list[Fields] = field(default_factory=list)
    closed: dict[str, frozenset[str]] = field(default_factory=dict)
    is_definition: bool = False
    written: list[str] = field(default_factory=list)
    keeps: bool = False
    relied: set[str] = field(default_factory=set)
    inner: InnerRule | None = None

    def run(self, root: Json, rules: Rules | None = None) -> Refusal | None:
        """The first refusal found below `root` (a node, a list of nodes or a struct), or None. `rules`: from `with_rules`."""
        nodes: list[Json] = [root]  # grows while it is gone through
        push, extend = nodes.append, nodes.extend
        if rules is None:
            rules = RULES
        for node in nodes:
            if isinstance(node, dict):
                for key, value in node.items():
                    try:
                        rule = rules[key]
                    except KeyError:
                        return replace(_unknown(key, value), node=key)
                    if rule is False:
                        continue
                    if rule is True:
                        if isinstance(value, list):
                            extend(value)
                        else:
                            push(value)
                    else:
                        found = rule(self, value, push)
                        if found is not None:
                            return found if found.node else replace(found, node=key)
            elif isinstance(node, list):
                extend(node)
        return None

    def relation(self, value: Fields) -> Refusal | None:
        """A RangeVar: noted, and refused when what it names is secret as a whole."""
        name = str(value.get("relname", ""))
        schema = value.get("schemaname")
        self.tables.add(f"{schema}.{name}" if schema else name)
        if self.listed.hides_activity and name in ACTIVITY_RELATIONS:
            return refusal.activity_hidden(f"relation {name}", ACTIVITY_RELATIONS[name], location(value))
        if schema is None or schema in SYSTEM_SCHEMAS:
            if name in DENIED_RELATIONS:
                return refusal.denied_relation(name, DENIED_RELATIONS[name], location(value))
            if name in SECRET_COLUMNS:
                self.secret.add(name)
        elif schema == "pg_toast":
            return refusal.denied_relation(f"pg_toast.{name}", "raw storage of other tables", location(value))
        openings = self.listed.openings
        if openings is not None and (known := openings.catalog.relations.get(name)) is not None:
            return self._relation_of_users(known, None if schema is None else str(schema), openings, value)
        return None

    def _relation_of_users(
        self, known: tuple[Relation, ...], schema: str | None, openings: Openings, value: Fields
    ) -> Refusal | None:
        for each in known:
            if each.schema != schema and (schema is not None or each.schema not in self.listed.schemas):
                continue
            found = openings.relations.reading(each)
            if found is not None:
                return replace(found, offset=location(value))
            columns = openings.relations.closed_columns(each)
            if columns:
                self.closed[each.name] = self.closed.get(each.name, frozenset()) | columns
        return None


def note_names(root: Json, walk: Walk) -> None:
    """Add every relation, function and CTE named below `root`, for the audit trail of a refused statement."""
    stack: list[Json] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            name = node.get("relname")
            if isinstance(name, str):
                schema = node.get("schemaname")
                walk.tables.add(f"{schema}.{name}" if schema else name)
            if "funcname" in node:
                walk.functions.add(names.shown(strings(node["funcname"])))
            if "ctename" in node:
                walk.ctes.add(str(node["ctename"]))
            stack.extend(node.values())


def _unknown(key: str, value: Json) -> Refusal:
    offset = location(value) if isinstance(value, dict) and "location" in value else None
    if key[:1].isupper() and key.endswith("Stmt"):
        if offset is None and isinstance(value, dict) and isinstance(target := value.get("relation"), dict):
            offset = location(target)
        return refusal.write_statement(statement_words(key, value).upper(), offset)
    return refusal.unknown_syntax(key, offset)
