"""Every method of JDBC's DatabaseMetaData: what object trees of Java tools are made of."""

import os
from pathlib import Path

from tests.support.doors import Door, missing, program, run

_SOURCE = Path(__file__).parent / "jdbc" / "Metadata.java"
_PACKAGES = "default-jdk-headless libpostgresql-jdbc-java"
#: What the driver answers by what it was told to connect to, or by its connection object.
_ITS_OWN = ("getURL", "getUserName", "getConnection", "getCatalogs", "toString", "hashCode")


def ask(url: str, user: str, password: str) -> dict[str, str]:
    program("javac", _PACKAGES)
    jar = os.environ.get("PGBASTION_TEST_JDBC", "/usr/share/java/postgresql.jar")
    if not Path(jar).exists():
        missing(jar, _PACKAGES)
    environment = {**os.environ, "JDBC_URL": url, "JDBC_USER": user, "JDBC_PASSWORD": password, "LC_ALL": "C.UTF-8"}
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8"]
    done = run([program("java", _PACKAGES), *options, "-cp", jar, _SOURCE], environment)
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def test_every_method(door: Door) -> None:
    gateway, upstream, login = door.gateway, door.database.upstream, door.database.app_ro
    url = f"jdbc:postgresql://{upstream.host}:{upstream.port}/{door.database.name}?sslmode=prefer"
    direct = ask(url, login.name, login.password.reveal())
    options = f"sslmode=verify-full&sslrootcert={gateway.ca_file}&ApplicationName=metadata"
    url = f"jdbc:postgresql://{gateway.host}:{gateway.port}/{door.dbname}?{options}"
    through = ask(url, door.person.name, door.person.password)
    assert len(direct) > 250
    for name, outcome in direct.items():
        if not name.startswith(_ITS_OWN):
            # whole only where the catalog's name is in it
            assert through[name].replace(door.target, door.database.name).split(" ")[0:2] == outcome.split(" ")[0:2] or (
                through[name] == outcome
            ), name
    assert door.denials("metadata") == []
