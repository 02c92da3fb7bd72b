"""Short-lived credentials and client certificates: they take away from what a person may, never add, and end sessions."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, ip_network

import pytest

from gateway.access.authorize import authorize, reachable, renew
from gateway.access.model import Denial, Lease, Snapshot, UserKind
from gateway.access.proof import ClientCertificate, Credential, Proof, login_name, split_login
from gateway.access.user_rules import BEARABLE
from gateway.access_mode import AccessMode
from tests.support.snapshots import ALICE, GRANT, LATER, NOW, PAST, SALES, SOON, world

INSIDE = IPv4Address("10.1.2.3")
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
CREDENTIAL = Credential("1f3c9a2e-0000", ALICE.id, SALES.id, RO, "verifier", PAST, "user:alice", SOON, SOON, 1, 5)
MACHINE = replace(ALICE, kind=UserKind.MACHINE, certificate_names=frozenset({"cn:etl", "uri:spiffe://prod/etl"}))
CERTIFICATE = ClientCertificate(frozenset({"cn:etl", "dns:etl.internal"}), "0a", "ff", LATER)
WRITER = replace(GRANT, mode=RW)


def having(credential: Credential = CREDENTIAL, snapshot: Snapshot | None = None) -> Snapshot:
    return replace(snapshot or world(), credentials={credential.handle: credential})


def ask(snapshot: Snapshot, proof: Proof | None = CREDENTIAL, **changes):
    asked = {"user_name": "alice", "target_name": "sales", "mode": RO, "address": INSIDE, "now": NOW, "session_id": "s-1"}
    return authorize(snapshot, **{**asked, "user_id": ALICE.id, "credential_version": 1, "proof": proof, **changes})


def rule(snapshot: Snapshot, proof: Proof | None = CREDENTIAL, **changes) -> str:
    answer = ask(snapshot, proof, **changes)
    return answer.rule if isinstance(answer, Denial) else "leased"


def test_a_login_name_is_no_users_name_and_needs_no_escaping():
    assert login_name("alice", CREDENTIAL) == "alice~1f3c9a2e"
    assert split_login("alice~1f3c9a2e") == ("alice", "1f3c9a2e")
    assert split_login("alice") == ("alice", None)
    assert "~" not in BEARABLE


def test_a_session_by_credential_ends_with_it():
    lease = ask(having())
    assert isinstance(lease, Lease)
    assert (lease.user, lease.proof, lease.valid_until) == (ALICE, CREDENTIAL, SOON)


@pytest.mark.parametrize(
    ("expected", "snapshot", "asked"),
    [
        ("leased", having(), {}),
        ("credential-revoked", world(), {}),
        ("credential-revoked", having(replace(CREDENTIAL, id="1f3c9a2e-another")), {}),
        ("credential-revoked", having(replace(CREDENTIAL, user_id="u-other")), {}),
        ("credential-revoked", having(replace(CREDENTIAL, credential_version=0)), {}),
        ("credential-expired", having(), {"now": SOON}),
        ("credential-for-other-target", having(), {"target_name": "payroll"}),
        ("credential-for-other-target", having(), {"target_name": "nowhere"}),
        ("credential-mode", having(snapshot=world(grants=(WRITER,))), {"mode": RW}),
        ("address-not-admitted-for-credential", having(replace(CREDENTIAL, network=ip_network("10.9.0.0/16"))), {}),
        ("leased", having(replace(CREDENTIAL, network=ip_network("10.1.0.0/16"))), {}),
        # The person's own limits stay.
        ("target-unknown", having(snapshot=world(grants=())), {}),
        ("mode-not-granted", having(replace(CREDENTIAL, mode=RW)), {"mode": RW}),
        ("user-disabled", having(snapshot=world(user=replace(ALICE, enabled=False))), {}),
        ("address-not-admitted", having(), {"address": IPv4Address("192.0.2.1")}),
        ("lockdown", having(snapshot=world(lockdown="audit")), {}),
        ("session-terminated", having(snapshot=world(terminated={"s-1": ""})), {}),
    ],
)
def test_what_a_credential_opens(expected, snapshot, asked):
    known = next(iter(snapshot.credentials.values()), CREDENTIAL)
    proof = replace(CREDENTIAL, mode=known.mode, network=known.network)  # as it was at the login
    assert rule(snapshot, proof, **asked) == expected


def test_nobody_gains_by_a_credential():
    """Whatever is allowed with one is allowed without it."""
    for mode in AccessMode:
        for grants in ((), (GRANT,), (WRITER,)):
            for target in ("sales", "payroll"):
                wide = replace(CREDENTIAL, mode=RW)
                snapshot = having(wide, world(grants=grants))
                asked = {"mode": mode, "target_name": target}
                with_it, without = rule(snapshot, wide, **asked), rule(snapshot, None, **asked)
                assert with_it != "leased" or without == "leased"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (world(), "credential-revoked"),
        (having(snapshot=world(user=replace(ALICE, credential_version=2))), "password-changed"),
        (having(snapshot=world(grants=())), "grant-ended"),
        (having(snapshot=world(user=replace(ALICE, enabled=False))), "user-disabled"),
    ],
)
def test_a_live_session_ends_with_what_it_stands_on(changed, expected):
    lease = ask(having())
    assert isinstance(lease, Lease)
    answer = renew(changed, lease, address=INSIDE, now=NOW, session_id="s-1")
    assert isinstance(answer, Denial)
    assert answer.rule == expected


def test_sessions_may_outlive_the_login_as_long_as_it_was_issued_for():
    patient = replace(CREDENTIAL, sessions_until=LATER)
    lease = ask(having(patient), patient)
    assert isinstance(lease, Lease)
    assert lease.valid_until == LATER
    between, over = SOON + timedelta(minutes=1), LATER
    assert rule(having(patient), patient, now=between) == "credential-expired"
    assert isinstance(renew(having(patient), lease, address=INSIDE, now=between, session_id="s-1"), Lease)
    ended = renew(having(patient), lease, address=INSIDE, now=over, session_id="s-1")
    assert isinstance(ended, Denial)
    assert ended.rule == "credential-expired"


@pytest.mark.parametrize(
    ("expected", "user", "certificate", "now"),
    [
        ("leased", MACHINE, CERTIFICATE, NOW),
        ("certificate-expired", MACHINE, CERTIFICATE, LATER),
        ("certificate-revoked", replace(MACHINE, certificate_names=frozenset()), CERTIFICATE, NOW),
        ("certificate-revoked", replace(MACHINE, certificate_names=frozenset({"dns:etl"})), CERTIFICATE, NOW),
        ("certificate-revoked", replace(MACHINE, certificate_names=frozenset({"cn:ETL"})), CERTIFICATE, NOW),
        ("certificate-revoked", replace(MACHINE, kind=UserKind.PERSON), CERTIFICATE, NOW),
        ("certificate-revoked", MACHINE, replace(CERTIFICATE, names=frozenset()), NOW),
        ("user-disabled", replace(MACHINE, enabled=False), CERTIFICATE, NOW),
    ],
)
def test_what_a_certificate_opens(expected, user, certificate, now):
    assert rule(world(user=user), certificate, now=now) == expected


def test_a_session_by_certificate_ends_when_the_name_is_taken_off():
    lease = ask(world(user=MACHINE), CERTIFICATE)
    assert isinstance(lease, Lease)
    assert lease.valid_until == LATER
    other = world(user=replace(MACHINE, certificate_names=frozenset({"uri:spiffe://prod/etl"})))
    ended = renew(other, lease, address=INSIDE, now=NOW, session_id="s-1")
    assert isinstance(ended, Denial)
    assert ended.rule == "certificate-revoked"


def test_what_is_reachable_is_what_a_login_would_find_from_an_admitted_address():
    def reach(snapshot: Snapshot, target: str, mode: AccessMode = RO) -> str:
        user = snapshot.users["alice"]
        found = reachable(snapshot, user=user, target_name=target, mode=mode, now=NOW)
        return found.rule if isinstance(found, Denial) else found.name

    assert reach(world(everywhere=()), "sales") == "sales"
    assert reach(world(), "payroll") == "target-unknown"
    assert reach(world(), "sales", RW) == "mode-not-granted"
    assert reach(world(user=replace(ALICE, enabled=False)), "sales") == "user-disabled"
