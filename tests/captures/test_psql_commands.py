"""Every backslash command of the installed psql, in every variant, on one of each kind of object.

What it shows through the gateway is what it shows directly, and none of its queries is refused.
"""

import re
from collections.abc import Iterator, Sequence

import pytest

from tests.support.doors import Door, direct_environment, program, run

_PATTERNS = ("", "*", "app.*", "*.*", '"Odd ""Name""".*', "pg_catalog.int4*", "nothing_of_this_name")
#: Lists and descriptions. The rest of the name (S, +, kinds) comes from psql's own help.
_LISTS = frozenset(
    [
        "d",
        "da",
        "dA",
        "dAc",
        "dAf",
        "dAo",
        "dAp",
        "db",
        "dc",
        "dconfig",
        "dC",
        "dd",
        "dD",
        "ddp",
        "dE",
        "des",
        "det",
        "deu",
        "dew",
        "df",
        "dF",
        "dFd",
        "dFp",
        "dFt",
        "dg",
        "di",
        "dl",
        "dL",
        "dm",
        "dn",
        "do",
        "dO",
        "dp",
        "dP",
        "drds",
        "drg",
        "dRp",
        "dRs",
        "ds",
        "dt",
        "dT",
        "du",
        "dv",
        "dx",
        "dX",
        "dy",
        "l",
        "z",
    ]
)
#: Commands with what they need, each in a script of its own.
_SCRIPTS = {
    "sf": "\\sf app.pairs\n\\sf+ app.fiscal_year(date, int)\n",
    "sv": "\\sv app.v_bookings\n\\sv+ app.v_years\n",
    "ef": "\\ef app.pairs\n\\r\n",
    "ev": "\\ev app.v_bookings\n\\r\n",
    "e": "SELECT 1 \\e\n\\r\n",
    "g": "SELECT name FROM app.customers ORDER BY 1 \\g\nSELECT 2 \\g (format=csv)\n",
    "gx": r"TABLE app.customers \gx",
    "gset": "SELECT 1 AS one, 'x' AS two \\gset v_\n\\echo :v_one :v_two\n",
    "gdesc": r"SELECT 1 AS a, now() AS b, NULL::app.stage AS c, ROW(1, 2) AS d \gdesc",
    "gexec": "SELECT format('SELECT count(*) AS %I FROM app.%I', relname, relname) FROM pg_class"
    " WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' ORDER BY 1 \\gexec\n",
    "crosstabview": "SELECT stage, extract(year FROM placed) AS y, sum(amount) FROM app.bookings GROUP BY 1, 2"
    " \\crosstabview 1 2 3\n",
    "errverbose": "SELECT 1/0;\n\\errverbose\n",
    "watch": "SELECT 1 / (9 - count(*)) FROM app.customers, generate_series(1, 3) \\watch c=2 i=0.1\n",
    "copy": "\\copy app.customers TO STDOUT\n"
    "\\copy (SELECT * FROM app.bookings ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)\n",
    "lo_list": "\\lo_list\n\\lo_list+\n",
    "encoding": "\\encoding\n\\encoding UTF8\n",
    "bind": "SELECT $1::int + 1 \\bind 41 \\g\n",
    "bind_named": "SELECT $1::int + 1 \\parse p1\n\\bind_named p1 41 \\g\n\\close_prepared p1\n",
    "parse": "SELECT $1::int \\parse p2\n\\bind_named p2 1 \\g\n",
    "close_prepared": "SELECT 1 \\parse p3\n\\close_prepared p3\n",
    "startpipeline": "\\startpipeline\nSELECT 1 \\bind \\sendpipeline\nSELECT 2 \\bind \\sendpipeline\n\\endpipeline\n",
    "c": "\\c\nSELECT 1;\n\\conninfo_is_silent\n",
    "timing": "\\timing on\nSELECT 1;\n\\timing off\n",
    "x": "\\x\nTABLE app.bookings;\n\\x\n",
    "if": "SELECT true AS yes \\gset\n\\if :yes\nSELECT 'then';\n\\else\nSELECT 'else';\n\\endif\n",
}
_SCRIPTS["c"] = "\\c\nSELECT current_setting('transaction_read_only');\n"
_SHOWS_NOTHING = frozenset({"ef", "ev", "e", "errverbose", "watch"})
_WITH_OTHERS = {
    **dict.fromkeys(["elif", "else", "endif"], "if"),
    **dict.fromkeys(["endpipeline", "sendpipeline", "flush", "flushrequest", "getresults", "syncpipeline"], "startpipeline"),
}
#: Never asks the server anything.
_SILENT = frozenset(
    [
        "copyright",
        "q",
        "?",
        "h",
        "s",
        "r",
        "p",
        "w",
        "echo",
        "i",
        "ir",
        "o",
        "qecho",
        "warn",
        "a",
        "C",
        "f",
        "H",
        "pset",
        "t",
        "T",
        "cd",
        "getenv",
        "setenv",
        "!",
        "prompt",
        "set",
        "unset",
        "restrict",
        "unrestrict",
    ]
)
#: The connection string of a subscription is a superuser's affair: directly, that fails for want of a right.
_SECRET = {"dRs+"}
#: What is refused, and says so: test_psql_says_what_it_cannot_do, and \conninfo shows where one is connected: tests/clients.
_ELSEWHERE = frozenset({"password", "lo_export", "lo_import", "lo_unlink", "conninfo"})


@pytest.fixture(scope="module")
def psql() -> str:
    return program("psql", "postgresql-client")


def commands(psql: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each command of psql's help, and the letters that it takes: ("dP", ("i", "t", "n", "+"))."""
    shown = run([psql, "-X", "--help=commands"], {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}).stdout
    for line in shown.splitlines():
        if found := re.match(r"  \\([a-zA-Z_]+|[?!])((?:\[\S+\])*)(?:\s|$)", line):
            letters = "".join(re.findall(r"\[(\S+?)\]", found[2]))
            yield found[1], tuple(letters) if letters != "onnect" else ()


def variants(name: str, letters: Sequence[str]) -> list[str]:
    """Bare, with each of its letters, with S and plus together, with all."""
    more = {"", *letters, "".join(letter for letter in letters if letter in "S+"), "".join(letters)}
    return [name + suffix for suffix in sorted(more)]


def same_both_ways(psql: str, door: Door, script: str, application: str, *, shown: bool = True) -> str:
    """What psql shows, the same both ways, and without a denial. `shown`: not so for the session's own settings."""
    command = [psql, "-X", "-v", f"DBNAME={door.database.name}", "-P", "pager=off"]
    environment = {"EDITOR": "true", "LC_ALL": "C.UTF-8"}
    through = run(command, {**door.environment(PGAPPNAME=application), **environment}, script)
    direct = run(command, {**direct_environment(door), **environment}, script)
    assert without_chance(through.stderr) == without_chance(direct.stderr)
    assert not shown or without_chance(through.stdout) == without_chance(direct.stdout)
    assert door.denials(application) == []
    return through.stdout


def without_chance(text: str) -> str:
    """Times, and the names of what one is connected to."""
    text = re.sub(r"^(Time: .*|You are now connected .*|SSL connection .*)$", "", text, flags=re.MULTILINE)
    return re.sub(r"^... ... .. ..:..:.. ....(?: \w+)?(?= \(every)", "now", text, flags=re.MULTILINE)


def test_every_command_of_psql_is_here(psql: str) -> None:
    """A newer psql with a new command fails here until it has a place."""
    known = _LISTS | _SCRIPTS.keys() | _WITH_OTHERS.keys() | _SILENT | _ELSEWHERE
    found = {name for name, _ in commands(psql)}
    assert len(found) > 80
    assert sorted(found - known) == []


@pytest.mark.parametrize("first", ["d", "dA", "dF", "dR", "dconfig", "df", "di", "other"])
def test_lists(psql: str, door: Door, first: str) -> None:
    """Every variant with every pattern."""
    groups = ("dA", "dF", "dR", "dconfig", "df", "di")
    script = []
    for name, letters in commands(psql):
        group = "d" if name == "d" else next((prefix for prefix in groups if name.startswith(prefix)), "other")
        if name in _LISTS and group == first:
            script += [
                f"\\{variant} {pattern}".rstrip()
                for variant in variants(name, letters)
                if variant not in _SECRET
                for pattern in patterns(variant)
            ]
    assert script
    # so that a difference shows where it is
    lines = [f"\\echo {line!r}\n{line}" for line in script]
    same_both_ways(psql, door, "\n".join(lines), f"lists {first}", shown=first != "dconfig")


def patterns(variant: str) -> tuple[str, ...]:
    """Fewer where everything is thousands of lines."""
    if variant == "d":
        return ("", "app.*", _PATTERNS[4])
    if variant == "d+":
        return ("", "app.[bc]*", "pg_catalog.pg_[p-s]*")
    if variant[:2] in ("dS", "df", "do", "dT", "da", "dt", "di", "dc", "dC"):
        return ("", "app.*", "pg_catalog.int4*", "nothing_of_this_name")
    return _PATTERNS


def test_each_object(psql: str, door: Door) -> None:
    """\\d and \\d+ of every relation, system catalogs too."""
    with door.database.upstream.connect(door.database.name) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind <> 't' AND nspname NOT LIKE 'pg_toast%' AND (c.oid >= 16384 OR c.oid::int % 9 = 0) ORDER BY 1"
        ).fetchall()
    assert len(names) > 60
    shown = same_both_ways(psql, door, "".join(f"\\d {name}\n\\d+ {name}\n" for (name,) in names), "each object")
    for wanted in ("Partition of:", "Foreign-key constraints", "Policies", "Triggers", "Publications", "Inherits", "Server:"):
        assert wanted in shown


@pytest.mark.parametrize("name", sorted(_SCRIPTS))
def test_commands_with_a_query(psql: str, door: Door, name: str) -> None:
    known = {command for command, _ in commands(psql)}
    script = _SCRIPTS[name]
    if name not in known:
        return  # of a newer psql
    if name == "watch" and "c=" not in run([psql, "--help=commands"], {"PATH": "/usr/bin:/bin"}).stdout:
        script = "SELECT 1 / (9 - count(*)) FROM app.customers;"  # this psql's \watch ends only by a key
    assert same_both_ways(psql, door, script, f"command {name}").strip() or name in _SHOWS_NOTHING


def test_psql_says_what_it_cannot_do(psql: str, door: Door) -> None:
    """Large objects go by fast-path calls; changing one's password upstream is not for a session."""
    for line, sqlstate in ((r"\lo_export 424242 /dev/null", "0A000"), (r"\lo_unlink 424242", "0A000")):
        shown = run([psql, "-X", "-v", "VERBOSITY=verbose"], door.environment(), f"{line}\nSELECT 'still ' || 'here';")
        assert sqlstate in shown.stderr or "fast-path" in shown.stderr, shown.stderr
        assert "still here" in shown.stdout
