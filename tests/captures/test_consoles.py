"""pgcli and Django as programs that people use: what they look up by themselves, and none of it refused."""

import sys
import threading
from pathlib import Path

from tests.support.doors import Door, run

_DJANGO = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.postgres"],
    DATABASES={{"default": {database!r}}},
)
django.setup()
from django.core.management import call_command
from django.db import connection, transaction

call_command("inspectdb", "--include-views", "--include-partitions")
call_command("check", "--database", "default")
call_command("showmigrations", "--plan")
with connection.cursor() as cursor:
    for table in connection.introspection.table_names(cursor, include_views=True):
        connection.introspection.get_relations(cursor, table)
        connection.introspection.get_constraints(cursor, table)
        connection.introspection.get_sequences(cursor, table)
        print(table, connection.introspection.get_primary_key_column(cursor, table))
with transaction.atomic():
    print(connection.introspection.django_table_names(), connection.pg_version > 0)
"""


def test_pgcli(door: Door) -> None:
    """Its completer's refresh, its special commands on every kind of object, its definitions."""
    from pgcli.completion_refresher import CompletionRefresher
    from pgcli.pgexecute import PGExecute
    from pgspecial.main import PGSpecial

    words = door.libpq(application_name="pgcli")
    place = {name: words.pop(name) for name in ("user", "password", "host", "port", "dbname")}
    executor = PGExecute(place["dbname"], place["user"], place["password"], place["host"], place["port"], **words)
    done = threading.Event()
    found: list[object] = []

    def keep(completer: object) -> None:
        found.append(completer)
        done.set()

    CompletionRefresher().refresh(executor, PGSpecial(), keep)
    assert done.wait(30)
    assert "customers" in repr(found[0].dbmetadata["tables"]["app"])  # type: ignore[attr-defined]
    assert "CREATE OR REPLACE VIEW" in executor.view_definition("app.v_bookings")
    assert "CREATE OR REPLACE FUNCTION" in executor.function_definition("app.pairs")
    assert list(executor.foreignkeys())
    assert executor.get_timezone()
    special = PGSpecial()
    for command in (
        *(
            "\\l",
            "\\l+",
            "\\dn",
            "\\dn+",
            "\\du",
            "\\du+",
            "\\dx",
            "\\dx+",
            "\\dD",
            "\\db",
            "\\dp app.*",
            "\\ddp",
            "\\dE",
            "\\dF",
            "\\dF+",
        ),
        *(
            "\\dt",
            "\\dt+ app.*",
            "\\dv app.*",
            "\\dm app.*",
            "\\di+ app.*",
            "\\ds app.*",
            "\\df+ app.*",
            "\\dT+ app.*",
            "\\d",
            "\\d+",
        ),
        *(
            f"\\d{plus} {name}"
            for plus in ("", "+")
            for name in ("app.customers", "app.bookings", "app.v_years", "app.mv_amounts", "app.far")
        ),
        *("\\d app.numbers", "\\d app.secrets", "\\d app.children", "\\sf app.pairs", "SELECT 1"),
    ):
        for _, _, _, status, _, success, _, *_ in executor.run(command, pgspecial=special, on_error_resume=True):
            assert success or "rule" not in repr(status), (command, status)
    assert door.denials("pgcli") == []


def test_django(door: Door, tmp_path: Path) -> None:
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": door.dbname,
        "USER": door.person.name,
        "PASSWORD": door.person.password,
        "HOST": door.gateway.host,
        "PORT": door.gateway.port,
        "OPTIONS": {
            "application_name": "django",
            "sslmode": "verify-full",
            "sslrootcert": str(door.gateway.ca_file),
            "options": "-c search_path=public",
        },
    }
    script = tmp_path / "visit.py"
    script.write_text(_DJANGO.format(database=database))
    done = run([sys.executable, script], door.environment())
    assert done.returncode == 0, done.stderr
    assert "class Accounts(models.Model)" in done.stdout
    assert "Unable to inspect" not in done.stdout, done.stdout
    assert door.denials("django") == []
