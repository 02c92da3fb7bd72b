"""Which login a session uses where people have their own: the snapshot's, what the custodian says, or none."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState
from gateway.access.model import Lease, Snapshot
from gateway.access_mode import AccessMode
from gateway.bus.lines import CUSTODIAN, BusUnavailable, Payload
from gateway.proxy.own_logins import OwnLogins
from gateway.session.upstream_login import UpstreamRefused
from gateway.wire.backend import ErrorFields
from tests.support.leases import lease_of
from tests.support.snapshots import NOW, world

PLAIN = lease_of("alice")
LEASE = replace(PLAIN, target=replace(PLAIN.target, managed=ManagedMode.PER_USER))
KEY = ManagedKey(LEASE.target.id, AccessMode.READ_ONLY, LEASE.user.id)
LOGIN = ManagedLogin("m", KEY, "alice", "pgb_alice_000000", "app_ro", b"one", None, ManagedState.ACTIVE, NOW, version=7)
ANSWER: Payload = {"id": "m", "login": "pgb_alice_000000", "member_of": "app_ro", "sealed": b"one".hex(), "version": 8}
REFUSED = UpstreamRefused("refused", "password authentication failed", "28P01")


@dataclass
class Around:
    """The directory and the bus of a worker."""

    snapshot: Snapshot
    answer: Payload | None = None
    asked: list[Payload] = field(default_factory=list)
    fresh: bool = True
    stale_for_seconds: float = 0.0

    def wake(self) -> None: ...

    def subscribe(self, callback: Callable[[Snapshot], None]) -> None: ...

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload:
        assert (to, kind) == (CUSTODIAN, "managed-login")
        assert timeout_seconds < 60
        self.asked.append(payload)
        if self.answer is None:
            raise BusUnavailable("nobody there")
        return self.answer


def knowing(*logins: ManagedLogin, answer: Payload | None = None) -> tuple[OwnLogins, Around]:
    around = Around(replace(world(), managed_logins=logins), answer)
    return OwnLogins(around, around), around


async def test_elsewhere_nobody_is_asked() -> None:
    own, around = knowing()
    assert await own.lease_of("s", PLAIN) is PLAIN
    assert await own.after_refusal("s", PLAIN, PLAIN, REFUSED) is None
    assert not around.asked


async def test_who_was_there_before_is_known() -> None:
    own, around = knowing(LOGIN)
    lease = await own.lease_of("s", LEASE)
    assert isinstance(lease, Lease)
    assert (lease.role.id, lease.role.login, lease.role.sealed_secret) == ("m", "pgb_alice_000000", b"one")
    assert not around.asked


async def test_who_comes_first_is_asked_for_once_until_the_snapshot_shows_it() -> None:
    own, around = knowing(answer=ANSWER)
    for _ in range(3):
        assert isinstance(await own.lease_of("s", LEASE), Lease)
    assert len(around.asked) == 1
    around.snapshot = replace(around.snapshot, revision=8)  # and it is not in there: its right has ended again
    await own.lease_of("s", LEASE)
    assert len(around.asked) == 2


async def test_only_what_is_there_and_right_is_used() -> None:
    for login in (
        replace(LOGIN, state=ManagedState.CREATING),
        replace(LOGIN, state=ManagedState.DROPPING),
        replace(LOGIN, state=ManagedState.KEPT),
        replace(LOGIN, member_of="another_role"),
        replace(LOGIN, key=replace(KEY, mode=AccessMode.READ_WRITE)),
        replace(LOGIN, key=replace(KEY, grant_id="g")),
    ):
        own, around = knowing(login, answer=ANSWER)
        await own.lease_of("s", LEASE)
        assert len(around.asked) == 1, login


async def test_without_an_answer_nobody_gets_in() -> None:
    refusal: Payload = {"rule": "managed-login-unavailable", "message": "could not be prepared", "hint": "Tell somebody."}
    for answer, said in ((None, "in time"), (refusal, "could not be prepared"), ({"odd": 1}, "does not understand")):
        own, _ = knowing(answer=answer)
        refused = await own.lease_of("s", LEASE)
        assert isinstance(refused, ErrorFields)
        assert refused.severity == "FATAL"
        assert said in refused.message


async def test_a_refused_login_is_made_anew_but_not_for_what_is_no_fault_of_its() -> None:
    own, around = knowing(LOGIN, answer={**ANSWER, "sealed": b"two".hex()})
    used = await own.lease_of("s", LEASE)
    assert isinstance(used, Lease)
    for fault in (
        UpstreamRefused("unreachable", "no answer in time"),
        UpstreamRefused("refused", "too many connections", "53300"),
        UpstreamRefused("refused", 'no pg_hba.conf entry for host "10.0.0.1"', "28000"),
    ):
        assert await own.after_refusal("s", used, LEASE, fault) is None
    assert not around.asked
    full = UpstreamRefused(
        "refused", 'too many connections for role "pgb_alice_000000"', "53300"
    )  # its limit may be an old one
    assert isinstance(await own.after_refusal("s", used, LEASE, full), Lease)
    again = await own.after_refusal("s", used, LEASE, REFUSED)
    assert isinstance(again, Lease)
    assert again.role.sealed_secret == b"two"
    assert around.asked[0]["refused"] == b"one".hex()
