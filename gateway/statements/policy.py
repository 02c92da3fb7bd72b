"""The policy's one question: may this text run in this access mode? Pure, whole, and never raises.

`judge` reads a text the way the server will (PostgreSQL's own grammar, standard_conforming_strings on, UTF-8) and refuses what
it cannot read. A text is judged whole: one refused statement refuses all of a batch. `is_small` says whether a text may be
judged on an event loop; others belong in an expendable process. `judge_setting`, `parse_options` and `judge_parameter_types`
are the same rules for what reaches the server outside of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Final

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements import settings
from gateway.statements.catalog import Catalog
from gateway.statements.catalog_objects import FIRST_USER_OID
from gateway.statements.catalogue import REVISION
from gateway.statements.definitions import judge_constants, judge_definition
from gateway.statements.edits import relabel
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.hygiene import is_small, too_tangled
from gateway.statements.limits import Bounds, Caps
from gateway.statements.names import Listed
from gateway.statements.only_these import OnlyThese
from gateway.statements.only_use import only_rules
from gateway.statements.openings import Openings
from gateway.statements.options import parse_options
from gateway.statements.parse import GRAMMAR, ParseFailure, parse
from gateway.statements.refusal import READ_WRITE_HINT, Refusal
from gateway.statements.settings import Lower, SettingRules
from gateway.statements.temporary_tables import EXCEPTIONS
from gateway.statements.verdict import Facts, Verdict
from gateway.statements.whole_text import TextRules, judge_statements, short, with_rule
from gateway.statements.write_modes import WriteRules

__all__ = [
    "Bounds",
    "Caps",
    "Policy",
    "is_small",
    "judge",
    "judge_parameter_types",
    "judge_setting",
    "parse_options",
    "relabel",
]

_RULES_VERSION: Final = 6


@dataclass(frozen=True)
class Policy:
    """What a session may send. The lists are a target's; `server_major` is the upstream server's.

    `allowed_functions` holds "schema.name", "schema.*", "name" or "extension:name" (operators, types, views and foreign tables,
    too), `allowed_schemas` what search_path may name, `allowed_settings` custom settings ("class.name"). `catalog` is what the
    owners of the database put into it; None: nothing is known of it, and so only what a name alone decides is judged.
    `options` and `max_changed_rows` are the grant's (see `GrantOption`). `hide_activity`: what other sessions run is closed, too.
    `metered`: the grant limits what is sent. `granted`: the only relations that it opens; None: those that the login may read.
    `only`: the statements and operations that the access request behind it was for; None: there was none, or for all of the mode.
    (Without slots: what is asked for often is worked out once.)
    """

    mode: AccessMode
    allowed_functions: frozenset[str] = frozenset()
    allowed_schemas: frozenset[str] = frozenset({"public"})
    allowed_settings: frozenset[str] = frozenset()
    server_major: int = 18
    max_statement_bytes: int = 1024 * 1024
    caps: Caps = field(default_factory=Caps)
    catalog: Catalog | None = None
    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None
    hide_activity: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    metered: bool = False
    granted: GrantedRelations | None = None
    only: OnlyThese | None = None

    @cached_property
    def revision(self) -> str:
        """Changes whenever a verdict under this policy could: with the policy, the rules, the catalogue or the grammar."""
        parts = (
            _RULES_VERSION,
            REVISION,
            GRAMMAR,
            self.mode.value,
            sorted(self.allowed_functions),
            sorted(self.allowed_schemas),
            sorted(self.allowed_settings),
            self.server_major,
            self.max_statement_bytes,
            repr(self.caps),
            self.catalog.revision if self.catalog is not None else None,
            sorted(self.options),
            self.max_changed_rows,
            self.hide_activity,
            repr(self.bounds),
            self.metered,
            self.granted.key if self.granted is not None else None,
            self.only.key if self.only is not None else None,
        )
        return sha256(repr(parts).encode()).hexdigest()[:16]

    @cached_property
    def listed(self) -> Listed:
        if self.catalog is None or self.mode is AccessMode.READ_WRITE:
            hides = self.hide_activity and self.mode is AccessMode.READ_ONLY
            return Listed(self.allowed_functions, self.allowed_schemas, hides_activity=hides, granted=self.granted)
        # What search_path may name, and what it holds when nobody names anything.
        reachable = self.allowed_schemas | self.catalog.path
        openings = Openings(
            self.catalog,
            self.allowed_functions,
            reachable,
            judge_definition,
            judge_constants,
            hides_activity=self.hide_activity,
        )
        return Listed(self.allowed_functions, reachable, openings, self.hide_activity, granted=self.granted)

    def opened_for(self, only: OnlyThese) -> "Policy":
        """The same for nothing but these. What is listed does not hang on that, and takes long to work out."""
        other = replace(self, only=only)
        other.__dict__["listed"] = self.listed
        return other

    def prepare(self) -> None:
        """Work out what takes long with a large catalog, before the first statement needs it."""
        judge(b"SELECT a.b FROM c a WHERE a.b = $1 AND a.b::pg_catalog.int4 IN (1)", self)

    @cached_property
    def setting_rules(self) -> SettingRules:
        # A search_path of the session's own could put somebody's function before PostgreSQL's of the same name.
        steady = self.only is not None and (bool(self.only.statements) or self.mode is AccessMode.READ_WRITE)
        custom = frozenset(map(settings.fold, self.allowed_settings))
        return SettingRules(self.mode, self.allowed_schemas, custom, self.caps, steady=steady)

    @cached_property
    def text_rules(self) -> TextRules:
        rules = self._rules_of_mode
        return rules if self.only is None else replace(rules, only=only_rules(self.only, self.mode, rules.plain))

    @property
    def _rules_of_mode(self) -> TextRules:
        rules = TextRules(self.listed, self.server_major, self.setting_rules, metered=self.metered)
        if self.mode is AccessMode.READ_ONLY:
            return replace(rules, exceptions=EXCEPTIONS if GrantOption.TEMPORARY_TABLES in self.options else None)
        writes = WriteRules(
            allows_ddl=GrantOption.NO_DDL not in self.options,
            needs_where=GrantOption.UNFILTERED_WRITES not in self.options,
            max_rows=self.max_changed_rows,
        )
        return replace(rules, writes=writes, reports_only=GrantOption.REPORT_ONLY in self.options)


def judge(sql: bytes, policy: Policy) -> Verdict:
    """The verdict on a whole text: the bytes of a Query or Parse message, without the NUL that ends them. Never raises."""
    try:
        return _judge(sql, policy)
    except (RecursionError, MemoryError):
        return _refuse("statement-too-complex", "54001", "statement is too deep or too large to be judged", _SIMPLER)
    except Exception as error:  # whatever goes wrong here must close, not open
        return _refuse(
            "internal-error",
            "XX000",
            f"the policy could not judge this statement ({type(error).__name__})",
            "Please report the statement to the maintainers.",
        )


_SIMPLER: Final = "Split it, or move long lists into a table or an array parameter."


def _judge(sql: bytes, policy: Policy) -> Verdict:
    if len(sql) > policy.max_statement_bytes:
        text = f"statement of {len(sql)} bytes is longer than the gateway's limit of {policy.max_statement_bytes}"
        return _refuse("statement-too-long", "54000", text, _SIMPLER)
    if b"\0" in sql:
        return _refuse("nul-character", "22021", "a statement cannot contain the NUL character", "Remove it.")
    try:
        text = sql.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        words = f"the statement is not valid UTF-8 at byte {error.start + 1}"
        return _refuse("invalid-utf8", "22021", words, "Send text as UTF-8 (client_encoding is UTF8 here).")
    tangled = too_tangled(text, policy.bounds)
    if tangled is not None:
        return _refuse("statement-too-complex", "54001", tangled, "Write it more plainly.")
    statements = parse(text)
    if isinstance(statements, ParseFailure):
        return _syntax_error(statements)
    return judge_statements(sql, statements, policy.text_rules)


def _syntax_error(failure: ParseFailure) -> Verdict:
    position = 0 if failure.index is None else failure.index + 1
    if failure.too_deep:
        return _refuse("statement-too-complex", "54001", failure.message, _SIMPLER, position)
    return _refuse("syntax-error", "42601", failure.message, "", position)


def _refuse(rule: str, sqlstate: str, message: str, hint: str, position: int = 0) -> Verdict:
    """A refusal of a text that has no tree. Syntax errors keep the parser's own words."""
    words = short(message) if rule == "syntax-error" else with_rule(message, rule)
    return Verdict(False, rule, Facts(""), sqlstate, words, hint, position)


def judge_setting(name: str, value: str | None, policy: Policy) -> Verdict | None:
    """A setting outside of a statement: a startup parameter, or one from its `options`. None: fine. Value None: the default.

    A value over its cap is refused here, since there is no text to change.
    """
    match settings.check(name, value, policy.setting_rules):
        case None:
            return None
        case Lower(text):
            words = f'setting "{name.lower()}" may be at most {text} (milliseconds), and not 0'
            return _refuse("setting-value", "42501", words, "Use a smaller value, or set it after logging in.")
        case Refusal() as found:
            return _refuse(found.rule, found.sqlstate, found.message, found.hint)


def judge_parameter_types(oids: Sequence[int], policy: Policy) -> Verdict | None:
    """The parameter types that a Parse message declares. None: fine. A user's type could run code when a value is bound."""
    if policy.mode is AccessMode.READ_WRITE:
        return None
    for number, oid in enumerate(oids, 1):
        if 0 <= oid < FIRST_USER_OID:
            continue
        openings = policy.listed.openings
        if openings is not None and not openings.stale and openings.type_is_open(oid):
            continue
        words = f"parameter ${number} declares a user-defined type (OID {oid}), which could run code when it is bound"
        hint = "Declare it as text (or not at all) and cast it in the statement. " + READ_WRITE_HINT
        return _refuse("parameter-type", "42501", words, hint)
    return None
