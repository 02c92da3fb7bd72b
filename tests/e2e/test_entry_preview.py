"""What an entry of a target's list would open: shown over the running gateway, true of sessions afterwards; nothing is changed."""

import json
import subprocess
from typing import Any, LiteralString, cast

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import targets
from gateway.services.target_facts import Permitted
from tests.support.commands import quick_program
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.upstream import Database

OBJECTS = """
CREATE SCHEMA shop;
CREATE FUNCTION shop.tax(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1 / 5';
CREATE FUNCTION shop.tax(text, int DEFAULT 1) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION shop.secret_tax() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 7';
CREATE FUNCTION shop.pinned_tax() RETURNS int LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = '' AS 'SELECT 7';
CREATE FUNCTION shop.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION shop.on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE PROCEDURE shop.tidy() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION shop.closed() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION shop.closed() FROM PUBLIC;
CREATE FUNCTION shop.is_fine(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
CREATE FUNCTION shop.near(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
CREATE OPERATOR shop.<~> (LEFTARG = int, RIGHTARG = int, FUNCTION = shop.near);
CREATE DOMAIN shop.amount AS int CHECK (shop.is_fine(VALUE));
CREATE FUNCTION shop.to_amount(text) RETURNS shop.amount LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE CAST (text AS shop.amount) WITH FUNCTION shop.to_amount(text);
CREATE TABLE shop.bills (id int, total int);
CREATE VIEW shop.taxes AS SELECT id, shop.tax(total) AS tax FROM shop.bills;
CREATE VIEW shop.above AS SELECT max(tax) AS most FROM shop.taxes;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO PUBLIC;
"""


@pytest.fixture
def shop(gateway: RunningGateway, database: Database) -> tuple[Person, str]:
    with database.superuser() as admin:
        admin.execute(OBJECTS)
    return gateway.analyst(database)


def command(gateway: RunningGateway, target: str, entry: str, *more: str) -> "subprocess.CompletedProcess[str]":
    words = [quick_program(), "targets", "allow-function", target, entry, "--preview", "--config", gateway.config, *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def preview(gateway: RunningGateway, target: str, entry: str) -> dict[str, Any]:
    done = command(gateway, target, entry, "--json")
    found = cast("dict[str, Any]", json.loads(done.stdout))
    assert done.returncode == (0 if found["ok"] else 1), done.stderr
    return found


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in found["objects"]}


def test_all_that_rests_on_a_function_is_shown(gateway: RunningGateway, shop: tuple[Person, str]) -> None:
    person, target = shop
    found = preview(gateway, target, "shop.tax")
    objects = by_name(found)
    assert objects.keys() == {"shop.tax(integer)", "shop.tax(text,integer)", "shop.taxes", "shop.above"}
    assert (objects["shop.tax(integer)"]["volatility"], objects["shop.tax(integer)"]["warnings"]) == ("stable", [])
    assert objects["shop.tax(text,integer)"]["warnings"] == ["volatile: by its own word it may write"]
    assert found["objects"][0]["name"] == "shop.tax(text,integer)"  # what there is to warn of comes first
    assert (objects["shop.above"]["kind"], found["more"], found["obstacle"]) == ("view", 0, None)
    session = gateway.client(person, target)
    for text in ("SELECT shop.tax(5)", "SELECT most FROM shop.above"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):  # it was a preview
            session.execute(cast(LiteralString, text))
    gateway.admin.change(targets.permit(gateway.admin.store, name=target, kind=Permitted.FUNCTION, item="shop.tax", **WHY))
    later = gateway.client(person, target)
    gateway.settle(person, target)
    assert later.execute("SELECT shop.tax(5)").fetchone() == (1,)
    assert later.execute("SELECT most FROM shop.above").fetchone() == (None,)
    again = preview(gateway, target, "shop.tax")
    assert (by_name(again).keys(), again["notes"][0].startswith("The target lists it already")) == (objects.keys(), True)


def test_what_to_beware_of_is_said(gateway: RunningGateway, shop: tuple[Person, str]) -> None:
    _, target = shop
    found = preview(gateway, target, "shop.*")
    objects = by_name(found)
    warned = {name: " | ".join(each["warnings"]) for name, each in objects.items() if each["warnings"]}
    assert "SECURITY DEFINER: it acts with the rights of" in warned["shop.secret_tax()"]
    assert "a superuser; its search_path is not fixed" in warned["shop.secret_tax()"]
    assert "search_path" not in warned["shop.pinned_tax()"]
    assert (objects["shop.pinned_tax()"]["security_definer"], objects["shop.pinned_tax()"]["volatility"]) == (True, "immutable")
    assert "PostgreSQL has a function of this name" in warned["shop.lower(text)"]
    assert "CALL stays refused" in warned["shop.tidy()"]
    assert "CALL stays refused" in warned["shop.on_change()"]
    assert "no right to call it" in warned["shop.closed()"]
    assert "shop.is_fine(integer)" not in warned
    kinds = {(each["kind"], each["name"]) for each in found["objects"]}
    assert ("operator", "shop.<~>(integer,integer) by shop.near(integer,integer)") in kinds
    assert ("cast", "text AS amount") in kinds
    assert ("domain", "shop.amount") in kinds
    assert any("put into this schema later" in note for note in found["notes"])


def test_entries_that_open_nothing_say_why(gateway: RunningGateway, shop: tuple[Person, str]) -> None:
    _, target = shop
    for entry, note in {
        "shop.txa": "Nothing in this database goes by this name",
        "extension:nothing_like_it": "Nothing in this database goes by this name",
        "shop.bills": "What goes by this name is open already",
    }.items():
        found = preview(gateway, target, entry)
        assert (found["ok"], found["objects"]) == (True, [])
        assert note in found["notes"][0]
    assert command(gateway, target, "no name").returncode == 1
    assert command(gateway, "nowhere", "shop.tax").returncode == 1


def test_people_read_a_table(gateway: RunningGateway, shop: tuple[Person, str]) -> None:
    _, target = shop
    done = command(gateway, target, "shop.tax")
    assert done.returncode == 1
    assert "warning: shop.tax(text,integer): volatile" in done.stdout
    assert "note: Bodies of functions are not judged" in done.stdout
    assert "Nothing was changed." in done.stdout
    assert "shop.taxes" in done.stdout


def test_a_database_that_cannot_be_reached_is_said(gateway: RunningGateway, shop: tuple[Person, str]) -> None:
    _, target = shop
    gateway.admin.change(
        targets.move_target(
            gateway.admin.store,
            gateway.admin.vault,
            name=target,
            change=lambda old: targets.Place(old.host, 1, old.dbname, old.tls, old.ca_pem),
            passwords={AccessMode.READ_ONLY: Secret("any"), AccessMode.READ_WRITE: Secret("any")},
            **WHY,
        )
    )
    found = preview(gateway, target, "shop.tax")
    assert (found["ok"], found["objects"]) == (False, [])
    assert found["obstacle"]["detail"]
    assert "could not be looked at" in command(gateway, target, "shop.tax").stdout
