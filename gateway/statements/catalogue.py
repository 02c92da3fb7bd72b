"""What is known about PostgreSQL, as data: functions, operators, settings, relations with secrets. Read once, at import.

Everything here is by name and for every supported major together: a name is safe only if it is safe in all of them.
`tests/policy/test_policy_catalogue.py` holds it against the catalogs of the server at hand.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Final

_DATA: Final = files("gateway.statements") / "data"


def _text(name: str) -> str:
    return (_DATA / name).read_text(encoding="utf-8")


def lines(name: str) -> Iterator[str]:
    """The entries of one data file."""
    return (line for line in _text(name).splitlines() if line and not line.startswith("-- "))


SAFE_FUNCTIONS: Final = frozenset(lines("functions.txt"))
"""Built-in functions that may be called in a read-only session, by name."""

REFUSED_FUNCTIONS: Final[Mapping[str, str]] = {
    name: why for name, why, *_ in (line.split() for line in lines("refused_functions.txt"))
}
"""Known functions that may not, with a key of WHY. (A name in neither table is unknown, and refused as such.)"""

ATTRIBUTE_FUNCTIONS: Final = frozenset(line.split()[0] for line in lines("refused_functions.txt") if line.endswith("+"))
"""Those of REFUSED_FUNCTIONS that one argument is enough for, so that `(x).name` and `t.name` call them."""

EXTENSION_FUNCTIONS: Final = frozenset(line.split()[0] for line in lines("refused_functions.txt") if " extension" in line)
"""Those of REFUSED_FUNCTIONS that are no built-in ones."""

OPERATORS: Final = frozenset(lines("operators.txt"))
"""Built-in operators, by name."""

BUILT_IN_TYPES: Final = frozenset(lines("types.txt"))
"""Built-in types, by name."""

FREE_SETTINGS: Final = frozenset(lines("settings.txt"))
"""Settings that anybody may set to anything, lower case."""

REFUSED_ARGUMENT_COUNTS: Final[Mapping[str, int]] = {"ts_rewrite": 2, "interval_avg": 1}
"""Safe functions with an unsafe overload: the argument count that is refused (ts_rewrite(tsquery, text) runs its text)."""

WHY: Final[Mapping[str, str]] = {
    "file": "it reads or writes files of the server",
    "internal": "it is internal to PostgreSQL and not meant to be called",
    "large-object": "it changes large objects",
    "lock": "it takes locks that outlive the statement or hold up others",
    "notify": "it sends a notification to other sessions",
    "page": "it reads raw pages, past privileges and row security",
    "remote": "it opens another session, which no rule here would watch",
    "replication": "it touches replication, WAL or backup state",
    "secret": "it shows credentials",
    "sequence": "it advances a sequence",
    "server": "it acts on the server itself",
    "session": "it acts on other sessions",
    "setting": "it changes settings",
    "snapshot": "it holds a snapshot open for others",
    "statistics": "it resets statistics",
    "text": "it runs SQL given as text, which is not judged",
    "user-code": "it may run code of user-defined types",
    "wait": "it only burns time while holding a connection",
    "write": "it writes",
    "xid": "it assigns a transaction id, which is a write",
}

SYSTEM_RELATIONS: Final = frozenset(lines("relations.txt"))
"""PostgreSQL's own relations in pg_catalog, by name."""

DENIED_RELATIONS: Final[Mapping[str, str]] = {
    "pg_largeobject": "the contents of all large objects",
    "pg_file_settings": "the server's configuration files",
    "pg_hba_file_rules": "the server's authentication rules",
    "pg_ident_file_mappings": "the server's user name maps",
    "pg_backend_memory_contexts": "the server's memory",
    "pg_shmem_allocations": "the server's memory",
    "pg_shmem_allocations_numa": "the server's memory",
    "pg_dsm_registry_allocations": "the server's memory",
    "pg_aios": "other sessions' I/O",
    "pg_config": "the server's build and places",
    "pg_stat_wal_receiver": "the connection string of replication",
}
"""System relations that are refused whole: what they show."""

_COLUMNS: Final = {
    "pg_authid": (
        "rolpassword",
        "oid rolname rolsuper rolinherit rolcreaterole rolcreatedb rolcanlogin rolreplication rolbypassrls "
        "rolconnlimit rolvaliduntil",
    ),
    "pg_shadow": ("passwd", "usename usesysid usecreatedb usesuper userepl usebypassrls valuntil useconfig"),
    "pg_user_mapping": ("umoptions", "oid umuser umserver"),
    "pg_user_mappings": ("umoptions", "umid srvid srvname umuser usename"),
    "_pg_user_mappings": (
        "umoptions",
        "oid umuser authorization_identifier foreign_server_catalog foreign_server_name srvowner",
    ),
    "user_mapping_options": (
        "option_value",
        "authorization_identifier foreign_server_catalog foreign_server_name option_name",
    ),
    "pg_subscription": (
        "subconninfo",
        "oid subdbid subskiplsn subname subowner subenabled subbinary substream subtwophasestate subdisableonerr "
        "subpasswordrequired subrunasowner subfailover subslotname subsynccommit subpublications suborigin",
    ),
    "pg_statistic": (
        "stavalues1 stavalues2 stavalues3 stavalues4 stavalues5",
        "starelid staattnum stainherit stanullfrac stawidth stadistinct "
        + " ".join(f"{kind}{n}" for kind in ("stakind", "staop", "stacoll", "stanumbers") for n in range(1, 6)),
    ),
    "pg_statistic_ext_data": ("stxdmcv stxdexpr", "stxoid stxdinherit stxdndistinct stxddependencies"),
}
_SYSTEM_COLUMNS: Final = ("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax")

SECRET_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(secret.split()) for name, (secret, _) in _COLUMNS.items()
}
"""System relations of which some columns are secret: those columns."""

OPEN_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset((*open_.split(), *_SYSTEM_COLUMNS)) for name, (_, open_) in _COLUMNS.items()
}
"""The other columns of the same relations. A name in neither is no column (so `t.name` could be a function call)."""

_ACTIVITY: Final = [line.split(None, 2) for line in lines("activity.txt")]

ACTIVITY_RELATIONS: Final[Mapping[str, str]] = {name: shows for name, kind, shows in _ACTIVITY if kind == "relation"}
"""Relations that show what other sessions run, or where they come from: what that is."""

ACTIVITY_FUNCTIONS: Final[Mapping[str, str]] = {name: shows for name, kind, shows in _ACTIVITY if kind == "function"}
"""Functions that do."""

KEYWORD_SINCE: Final[Mapping[str, tuple[int, str]]] = {
    "JsonObjectConstructor": (16, "json_object"),
    "JsonArrayConstructor": (16, "json_array"),
    "JsonArrayQueryConstructor": (16, "json_array"),
    "JsonObjectAgg": (16, "json_objectagg"),
    "JsonArrayAgg": (16, "json_arrayagg"),
    "JsonParseExpr": (17, "json"),
    "JsonScalarExpr": (17, "json_scalar"),
    "JsonSerializeExpr": (17, "json_serialize"),
    "JsonFuncExpr": (17, "json_value"),
    "JsonTable": (17, "json_table"),
    "MergeSupportFunc": (17, "merge_action"),
}
"""Node classes that an older server reads as a call of a user's function: first major that knows the keyword, its name."""

_FILES: Final = (
    *("functions", "refused_functions", "operators", "types", "extensions", "settings", "nodes", "activity", "relations"),
)

REVISION: Final = sha256(
    "\0".join(
        [
            *(_text(f"{name}.txt") for name in _FILES),
            repr((sorted(DENIED_RELATIONS), _COLUMNS, sorted(KEYWORD_SINCE.items()), sorted(REFUSED_ARGUMENT_COUNTS.items()))),
        ]
    ).encode()
).hexdigest()[:16]
"""Changes whenever any of this data does."""
