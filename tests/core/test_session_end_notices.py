"""The notice before a right ends says which access request gave it, and what to do."""

from dataclasses import replace
from datetime import timedelta

from gateway.access.model import Lease
from gateway.access.requested import Only
from gateway.access_mode import AccessMode
from gateway.session.end_notices import end_notice
from tests.support.snapshots import ALICE, GRANT, NOW, SALES

LEASE = Lease(ALICE, SALES, AccessMode.READ_WRITE, SALES.roles[AccessMode.READ_WRITE], GRANT.id, NOW + timedelta(minutes=10), 7)


def said(lease: Lease) -> tuple[str, str]:
    fields = end_notice(lease, NOW + timedelta(minutes=10), NOW)
    return fields.message, fields.hint


def test_of_a_grant_that_an_admin_gave() -> None:
    message, hint = said(LEASE)
    assert 'your access to target "sales" ends in 10 min' in message
    assert hint.endswith("ask your administrator if you need longer.")


def test_of_a_request() -> None:
    message, hint = said(replace(LEASE, request=17))
    assert 'your access to target "sales" (request 17) ends in 10 min' in message
    assert "SELECT pgbastion.request(mode => 'read_write', duration => '1h')" in hint


def test_of_a_request_for_less_than_the_mode() -> None:
    asked = replace(LEASE, request=17)
    for lease in (replace(asked, only=(Only(frozenset({"ab"})),)), replace(asked, database_role="reporting")):
        _, hint = said(lease)
        assert "pgbastion request show 17" in hint
