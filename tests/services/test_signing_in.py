"""A person signs in: what it takes, what it leaves, and what is good once. The clock is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import argon2
import pyotp
import pytest

from gateway.access.accounts import STEP_SECONDS, Account, Identity, Standing
from gateway.access.authorize import authorize
from gateway.access.model import OWNERS, AdminRole, Denial, TokenKind
from gateway.access.networks import canonical_address
from gateway.access.user_rules import ANY_RULES
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import accounts, claim_mappings, groups, signing_in, tokens, users
from gateway.services.actor import NotPermitted
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.identities import Newcomers, Vouched, hold_back, sign_in_vouched, vouch_again
from gateway.services.sign_in_proofs import (
    is_password,
    new_authenticator_secret,
    new_recovery_codes,
    recovery_hash,
    step_of,
)
from gateway.services.signing_in import CodeRequired, Proofs, SignInRefused, Terms
from tests.services.world import BY, World

NOW = datetime.now(UTC).replace(microsecond=0)
PASSWORD = Secret("sign-in-canary-6f1e")
TERMS = Terms(timedelta(hours=12), CodeRequired.OWNERS)
EVERYBODY = replace(TERMS, code_required=CodeRequired.EVERYBODY)
ISSUER = "https://id.example"


def proofs(code: str = "", password: Secret = PASSWORD, name: str = "alice") -> Proofs:
    return Proofs(name, password, code, "192.0.2.9")


#: As it would be made, but quick to verify: the hash itself says what it costs.
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD.reveal())


async def with_account(world: World, name: str = "alice") -> None:
    async with begin(world.store, "os:admin", "") as change:
        await change.save(Account(change.snapshot.users[name].id, QUICK), "account.created", name)


async def enrolled(world: World, now: datetime = NOW) -> tuple[pyotp.TOTP, signing_in.SignedIn]:
    begun = await signing_in.begin_enrolment(world.at(now), world.vault, proofs=proofs())
    totp = pyotp.TOTP(begun.secret.reveal())
    made = await signing_in.enrol(
        world.at(now),
        world.vault,
        proofs=proofs(totp.at(now)),
        pending=begun.pending,
        patience=timedelta(minutes=10),
        terms=TERMS,
    )
    return totp, made


async def owner(world: World, name: str = "alice") -> None:
    async with begin(world.store, "os:admin", "") as change:
        role = AdminRole(OWNERS, "owners", {}, frozenset({change.snapshot.users[name].id}), owners=True)
        await change.save(role, "admin_role.members_changed", "owners")


async def events(world: World, action: str) -> list:
    return [each.event for each in await world.events() if each.event.action == action]


async def test_a_password_is_enough_where_no_code_is_asked_for(world: World) -> None:
    await with_account(world)
    made = await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    snapshot = await world.read()
    token = tokens.find_token(snapshot, made.secret, NOW)
    assert token == made.token
    assert (token.kind, token.user_id) == (TokenKind.SESSION, snapshot.users["alice"].id)
    assert token.valid_until == NOW + timedelta(hours=12)
    assert tokens.find_token(snapshot, made.secret, NOW + timedelta(hours=12)) is None
    (event,) = await events(world, "sign_in.created")
    assert (event.actor, event.object_name, event.detail["address"]) == ("user:alice", "alice", "192.0.2.9")
    assert event.detail["how"] == "password"


async def test_a_sign_in_lasts_no_longer_than_the_user(world: World) -> None:
    await with_account(world)
    soon = NOW + timedelta(hours=1)
    await users.set_user_expiry(world.store, name="alice", valid_until=soon, **BY)
    made = await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    assert made.token.valid_until == soon
    with pytest.raises(SignInRefused):
        await signing_in.sign_in(world.at(soon), world.vault, proofs=proofs(), terms=TERMS)


@pytest.mark.parametrize(
    "wrong", [proofs(password=Secret("sign-in-canary-6f1f")), proofs(name="carol"), proofs(name="bob"), proofs(name="alice\n")]
)
async def test_who_is_refused_is_told_nothing_but_that(world: World, wrong: Proofs) -> None:
    """A wrong password, nobody, somebody without an account who is disabled, no name at all: one answer."""
    await with_account(world)
    before = await world.read()
    with pytest.raises(SignInRefused) as caught:
        await signing_in.sign_in(world.at(NOW), world.vault, proofs=wrong, terms=TERMS)
    assert (caught.value.rule, caught.value.message) == ("sign-in-refused", "the name, the password or the code is wrong")
    assert await world.read() == before


async def test_a_refusal_is_written_down_of_who_exists(world: World) -> None:
    await with_account(world)
    for name in ("alice", "nobody_here"):
        with pytest.raises(SignInRefused) as caught:
            await signing_in.sign_in(
                world.at(NOW), world.vault, proofs=proofs(password=Secret("x" * 12), name=name), terms=TERMS
            )
        await signing_in.note_refused(world.store, caught.value, "192.0.2.9")
    (event,) = await events(world, "sign_in.refused")
    assert (event.actor, event.object_name, event.detail) == ("system", "alice", {"address": "192.0.2.9", "what": "password"})


@pytest.mark.parametrize("change", [users.disable_user, accounts.delete_account])
async def test_who_may_not_log_in_does_not_sign_in_and_a_sign_in_is_nothing_any_more(world: World, change) -> None:
    await with_account(world)
    await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    await change(world.store, name="alice", **BY)
    with pytest.raises(SignInRefused):
        await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    if change is users.disable_user:
        with pytest.raises(NotPermitted):
            async with begin(world.at(NOW), "user:alice", ""):
                pass
    else:
        assert all(token.kind is TokenKind.API for token in (await world.read()).tokens.values())


@pytest.mark.parametrize(("terms", "needs"), [(TERMS, False), (EVERYBODY, True)])
async def test_for_whom_a_code_is_a_must_is_a_setting(world: World, terms: Terms, needs: bool) -> None:
    await with_account(world)
    for is_owner in (False, True):
        if is_owner:
            await owner(world)
        if needs or is_owner:
            with pytest.raises(ServiceError) as caught:
                await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=terms)
            assert caught.value.rule == "authenticator-required"
        else:
            await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=terms)


async def test_from_the_enrolment_on_a_code_is_asked_for_and_is_good_once(world: World) -> None:
    await with_account(world)
    totp, made = await enrolled(world)
    assert len(made.recovery_codes) == 10
    with pytest.raises(SignInRefused) as caught:
        await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(totp.at(NOW)), terms=TERMS)
    assert caught.value.what == "code"  # the one that confirmed the enrolment
    later = NOW + timedelta(seconds=STEP_SECONDS)
    for code in ("", "000000", "12345", totp.at(NOW - timedelta(seconds=STEP_SECONDS))):
        with pytest.raises(SignInRefused):
            await signing_in.sign_in(world.at(later), world.vault, proofs=proofs(code), terms=TERMS)
    code = totp.at(later)
    await signing_in.sign_in(world.at(later), world.vault, proofs=proofs(code), terms=TERMS)
    with pytest.raises(SignInRefused):
        await signing_in.sign_in(world.at(later), world.vault, proofs=proofs(code), terms=TERMS)


async def test_an_enrolment_ends_other_sign_ins_and_its_secret_is_kept_sealed_alone(world: World) -> None:
    await with_account(world)
    first = await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    totp, made = await enrolled(world)
    snapshot = await world.read()
    assert tokens.find_token(snapshot, first.secret, NOW) is None
    assert tokens.find_token(snapshot, made.secret, NOW) is not None
    written = repr(await world.events()) + repr(snapshot)
    for secret in (totp.secret, PASSWORD.reveal(), made.secret.reveal(), *(code.reveal() for code in made.recovery_codes)):
        assert secret not in written


async def test_an_enrolment_is_its_persons_and_stale_soon(world: World) -> None:
    await with_account(world)
    begun = await signing_in.begin_enrolment(world.at(NOW), world.vault, proofs=proofs())
    late = NOW + timedelta(minutes=11)
    code = pyotp.TOTP(begun.secret.reveal()).at(late)
    with pytest.raises(SignInRefused):
        await signing_in.enrol(
            world.at(late), world.vault, proofs=proofs(code), pending=begun.pending, patience=timedelta(minutes=10), terms=TERMS
        )
    assert (await world.read()).accounts[begun.user.id].sealed_secret is None


async def test_who_has_an_authenticator_needs_it_to_get_another(world: World) -> None:
    await with_account(world)
    totp, made = await enrolled(world)
    with pytest.raises(SignInRefused):
        await signing_in.begin_enrolment(world.at(NOW), world.vault, proofs=proofs())
    begun = await signing_in.begin_enrolment(world.at(NOW), world.vault, proofs=proofs(made.recovery_codes[0].reveal()))
    assert begun.secret.reveal() != totp.secret


async def test_a_recovery_code_stands_in_for_the_authenticator_once(world: World) -> None:
    await with_account(world)
    _, made = await enrolled(world)
    code = made.recovery_codes[3].reveal().upper().replace("-", " ")
    signed_in = await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(code), terms=TERMS)
    assert signed_in.codes_left == 9
    assert (await events(world, "sign_in.created"))[-1].detail["how"] == "password+recovery-code"
    with pytest.raises(SignInRefused):
        await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(code), terms=TERMS)


async def test_a_lost_authenticator_is_replaced_by_an_audited_recovery(world: World) -> None:
    await with_account(world)
    totp, made = await enrolled(world)
    recovered = await accounts.recover_account(world.store, name="alice", keep_password=True, **BY)
    assert recovered.generated is None
    (event,) = await events(world, "account.recovered")
    assert (event.actor, event.reason) == ("os:admin", "ticket 17")
    assert event.detail == {"password": "kept", "authenticator": "removed", "sign_ins_ended": 1}
    assert tokens.find_token(await world.read(), made.secret, NOW) is None
    await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    again = await accounts.recover_account(world.store, name="alice", **BY)
    assert again.generated is not None
    with pytest.raises(SignInRefused):
        await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(totp.at(NOW)), terms=TERMS)
    await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(password=again.generated), terms=TERMS)


async def test_ones_own_password_takes_the_old_one(world: World) -> None:
    await with_account(world)
    made = await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS)
    new = Secret("another-canary-8d2b")
    wrong = proofs(password=Secret("guessed-canary-1"))
    with pytest.raises(SignInRefused):
        await signing_in.change_own_password(world.at(NOW), world.vault, proofs=wrong, password=new)
    await signing_in.change_own_password(world.at(NOW), world.vault, proofs=proofs(), password=new)
    assert tokens.find_token(await world.read(), made.secret, NOW) is None
    await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(password=new), terms=TERMS)


async def test_signing_out_ends_this_sign_in_and_no_other(world: World) -> None:
    await with_account(world)
    one, other = [await signing_in.sign_in(world.at(NOW), world.vault, proofs=proofs(), terms=TERMS) for _ in range(2)]
    await signing_in.sign_out(world.at(NOW), token=one.token, user_name="alice", actor="user:alice")
    snapshot = await world.read()
    assert tokens.find_token(snapshot, one.secret, NOW) is None
    assert tokens.find_token(snapshot, other.secret, NOW) is not None
    with pytest.raises(ServiceError):
        await signing_in.sign_out(world.at(NOW), token=one.token, user_name="alice", actor="user:alice")


async def test_a_person_arranges_nobodys_sign_in_not_even_their_own(world: World) -> None:
    await with_account(world)
    by = {"actor": "user:alice", "reason": ""}
    identity = Identity(ISSUER, "s-9")
    for asked in (
        accounts.recover_account(world.store, name="alice", **by),
        accounts.link_identity(world.store, name="alice", identity=identity, **by),
        accounts.delete_account(world.store, name="alice", **by),
        claim_mappings.create_mapping(world.store, value="x", group="analysts", **by),
    ):
        with pytest.raises(NotPermitted):
            await asked


# Through an identity provider ---------------------------------------------------------------------------------------------------


def vouched(*names: str, subject: str = "s-1", name: str = "ana_miller") -> Vouched:
    return Vouched(Identity(ISSUER, subject), name, "ana@example.com", frozenset(names))


async def linked(world: World, *, managed: bool = True) -> None:
    await accounts.link_identity(world.store, name="alice", identity=Identity(ISSUER, "s-1"), managed=managed, **BY)


def reaches(snapshot) -> bool:
    address = canonical_address("10.1.1.1")
    found = authorize(
        snapshot, user_name="alice", target_name="sales", mode=AccessMode.READ_ONLY, address=address, now=NOW, session_id="s"
    )
    return not isinstance(found, Denial)


async def come(world: World, who: Vouched, newcomers: Newcomers | None = None) -> signing_in.SignedIn:
    return await sign_in_vouched(world.at(NOW), vouched=who, terms=TERMS, newcomers=newcomers, address="192.0.2.9")


async def test_only_who_is_linked_gets_in_unless_newcomers_may(world: World) -> None:
    with pytest.raises(ServiceError) as caught:
        await come(world, vouched(name="alice"))
    assert caught.value.rule == "identity-not-linked"
    with pytest.raises(ServiceError) as caught:  # a name there is nobody's here
        await come(world, vouched(name="alice@example.com"), Newcomers(managed=True, rules=ANY_RULES))
    assert caught.value.rule == "user-exists"
    made = await come(world, vouched(name="ana.miller@example.com"), Newcomers(managed=True, rules=ANY_RULES))
    assert made.user.name == "ana_miller"
    again = await come(world, vouched(name="another_name"))
    assert again.user.id == made.user.id
    await linked_elsewhere(world)


async def linked_elsewhere(world: World) -> None:
    with pytest.raises(ServiceError) as caught:
        await linked(world)
    assert caught.value.rule == "identity-exists"


async def test_groups_there_are_groups_and_roles_here(world: World) -> None:
    await linked(world)
    await groups.create_group(world.store, name="others", members=("alice",), **BY)
    async with begin(world.store, "os:admin", "") as change:
        await change.save(AdminRole("r-1", "operators"), "admin_role.created", "operators")
    await claim_mappings.create_mapping(world.store, value="data", group="analysts", **BY)
    await claim_mappings.create_mapping(world.store, value="dba", role="operators", **BY)
    alice = (await world.read()).users["alice"].id
    for names, is_analyst, is_operator in ((("data", "dba"), True, True), (("dba",), False, True), ((), False, False)):
        await come(world, vouched(*names))
        snapshot = await world.read()
        assert (alice in snapshot.groups["analysts"].members, alice in snapshot.admin_roles["operators"].members) == (
            is_analyst,
            is_operator,
        )
        assert alice in snapshot.groups["others"].members  # nothing maps to it
    assert {each.actor for each in await events(world, "group.member_added") if each.reason} == {"system"}


async def test_the_last_owner_stays_one_whatever_the_provider_says(world: World) -> None:
    await linked(world)
    await owner(world)
    await claim_mappings.create_mapping(world.store, value="boss", role="owners", **BY)
    await come(world, vouched())
    snapshot = await world.read()
    assert snapshot.users["alice"].id in snapshot.admin_roles["owners"].members


async def test_a_no_ends_sign_ins_and_the_sessions_of_who_is_managed(world: World) -> None:
    await linked(world)
    made = await come(world, vouched())
    account_id = made.user.id
    assert reaches(await world.read())
    await hold_back(world.store, account_id=account_id, standing=Standing.REFUSED, why="no")
    snapshot = await world.read()
    assert tokens.find_token(snapshot, made.secret, NOW) is None
    assert not reaches(snapshot)
    await vouch_again(world.store, account_id=account_id, groups=None)
    assert not reaches(await world.read())  # only a new sign-in takes a no back
    await come(world, vouched())
    assert reaches(await world.read())
    assert [each.actor for each in await events(world, "account.refused")] == ["system"]


async def test_silence_lasts_until_the_provider_speaks(world: World) -> None:
    await linked(world)
    made = await come(world, vouched())
    await hold_back(world.store, account_id=made.user.id, standing=Standing.UNVERIFIED, why="silence")
    assert not reaches(await world.read())
    await vouch_again(world.store, account_id=made.user.id, groups=None)
    assert reaches(await world.read())


async def test_a_no_leaves_the_databases_of_who_is_not_managed(world: World) -> None:
    await linked(world, managed=False)
    made = await come(world, vouched())
    await hold_back(world.store, account_id=made.user.id, standing=Standing.REFUSED, why="no")
    snapshot = await world.read()
    assert tokens.find_token(snapshot, made.secret, NOW) is None
    assert reaches(snapshot)


async def test_a_disabled_user_is_not_let_in_by_a_provider(world: World) -> None:
    await linked(world)
    await users.disable_user(world.store, name="alice", **BY)
    with pytest.raises(SignInRefused):
        await come(world, vouched())


# What proofs are ----------------------------------------------------------------------------------------------------------------


def test_a_code_is_of_the_present_step_or_its_neighbours() -> None:
    secret = new_authenticator_secret()
    totp, step = pyotp.TOTP(secret.reveal()), int(NOW.timestamp()) // STEP_SECONDS
    for offset in range(-3, 4):
        found = step_of(secret, totp.generate_otp(step + offset), NOW, 0)
        assert found == (step + offset if abs(offset) <= 1 else None)
    assert step_of(secret, totp.generate_otp(step), NOW, step) is None
    for nonsense in ("", "１２３４５６", "12345a", "-12345", "1234567"):
        assert step_of(secret, nonsense, NOW, 0) is None


def test_recovery_codes_are_different_and_hashed_alike_however_they_are_typed() -> None:
    codes = new_recovery_codes()
    assert len({code.reveal() for code in codes}) == 10
    text = codes[0].reveal()
    assert recovery_hash(text) == recovery_hash(text.upper().replace("-", ""))
    assert recovery_hash(text) != recovery_hash(text[:-1])


def test_nobodys_password_is_never_right() -> None:
    assert not is_password(None, Secret("x"))
    assert not is_password(None, Secret(""))


async def test_a_password_is_hashed_slowly_and_shown_once(world: World) -> None:
    made = await accounts.create_account(world.store, name="alice", **BY)
    assert made.generated is not None
    assert made.account.password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert is_password(made.account.password_hash, made.generated)
    assert made.generated.reveal() not in repr(await world.events()) + repr(await world.read())
    for password in ("short", "x" * 257, "with\0control-characters"):
        with pytest.raises(ServiceError):
            await accounts.recover_account(world.store, name="alice", password=Secret(password), **BY)
