"""/v1/accounts: how people sign in."""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Change, Changing, Looking, Making, MakingAt, gone, made, shown
from admin_api.models.accounts import (
    AccountMade,
    AccountPage,
    AccountPatch,
    AccountRecord,
    NewAccount,
    NewIdentity,
    Recovery,
    account_record,
)
from admin_api.models.fields import secret
from admin_api.paging import Paged
from gateway.access.accounts import Identity
from gateway.access.authorize import user_by_id
from gateway.audit.admin_event import AdminEvent
from gateway.secret import Secret
from gateway.services import accounts
from gateway.services.accounts import AccountPassword, find_account
from gateway.services.errors import ServiceError

router = APIRouter(prefix="/accounts", tags=["accounts"])

_SEE = "accounts.list"


@router.get("", response_model=AccountPage)
async def list_accounts(call: Looking, page: Paged) -> Response:
    """List who can sign in, and how."""
    call.require(_SEE)
    people = {user.id: user for user in call.whole.users.values()}
    found = [(people[account.id], account) for account in call.whole.accounts.values() if account.id in people]
    items, following = page.of(found, lambda each: (each[0].name,))
    records = [account_record(call.whole, user, account, call.now) for user, account in items]
    return call.show_list(AccountPage(items=records, next=following))


@router.post("", response_model=AccountMade, status_code=201)
async def create_account(call: Making, body: NewAccount) -> Response:
    """Let a person sign in with a password. It adds no right."""

    async def answer(created: AccountPassword) -> Response:
        return await _made(call, created.account.id, created.generated)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id, None)

    return await call.run(
        lambda store: accounts.create_account(store, name=body.user, password=secret(body.password), **call.why), answer, again
    )


@router.get("/{name}", response_model=AccountRecord)
async def show_account(call: Looking, name: str) -> Response:
    """Show how one person signs in."""
    call.require(_SEE)
    user, account = find_account(call.whole, name)
    return call.show(account_record(call.whole, user, account, call.now), account.version, whole=False)


@router.patch("/{name}", response_model=AccountRecord)
async def update_account(call: Changing, name: str, body: AccountPatch) -> Response:
    """Whether access to databases depends on the identity provider's word, too."""
    version = call.expected_version
    account = await accounts.set_managed(call.store, name=name, managed=body.managed, expected_version=version, **call.why)
    return await _shown(call, account.id)


@router.delete("/{name}", status_code=204)
async def delete_account(call: Changing, name: str) -> Response:
    """They cannot sign in any more; their sign-ins end. The user stays."""
    await accounts.delete_account(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.post("/{name}/recovery", response_model=AccountMade)
async def recover_account(call: MakingAt, name: str, body: Recovery) -> Response:
    """A lost authenticator or password: both are replaced, and all sign-ins end."""

    async def answer(recovered: AccountPassword) -> Response:
        return await _made(call, recovered.account.id, recovered.generated, new=False)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id, None, new=False)

    return await call.run(
        lambda store: accounts.recover_account(
            store,
            name=name,
            password=secret(body.password),
            keep_password=body.keep_password,
            expected_version=call.expected_version,
            **call.why,
        ),
        answer,
        again,
    )


@router.delete("/{name}/sign-ins", status_code=204)
async def end_sign_ins(call: Changing, name: str) -> Response:
    """Sign somebody out everywhere."""
    await accounts.end_sign_ins(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.put("/{name}/identity", response_model=AccountRecord)
async def link_identity(call: Changing, name: str, body: NewIdentity) -> Response:
    """Who this is at the identity provider: they may sign in through it."""
    issuer = body.issuer or call.context.settings.now.oidc.issuer
    if not issuer:
        raise ServiceError("provider-unknown", "no identity provider is set up here", "Name its issuer, or set oidc.issuer.")
    identity = Identity(issuer, body.subject)
    account = await accounts.link_identity(call.store, name=name, identity=identity, managed=body.managed, **call.why)
    return await _shown(call, account.id)


@router.delete("/{name}/identity", response_model=AccountRecord)
async def unlink_identity(call: Changing, name: str) -> Response:
    """No way in through the identity provider any more; all sign-ins end."""
    account = await accounts.unlink_identity(call.store, name=name, expected_version=call.expected_version, **call.why)
    return await _shown(call, account.id)


async def _record(call: Change, user_id: str) -> AccountRecord:
    snapshot, _ = await call.rights()
    user, account = user_by_id(snapshot, user_id), snapshot.accounts.get(user_id)
    if user is None or account is None:
        raise ServiceError("account-unknown", "this account was deleted meanwhile")
    return account_record(snapshot, user, account, call.now)


async def _shown(call: Change, user_id: str) -> Response:
    record = await _record(call, user_id)
    return shown(record, record.version)


async def _made(call: Change, user_id: str, generated: Secret | None, *, new: bool = True) -> Response:
    """`generated` is None in a repetition: what is shown once was shown."""
    found = await _record(call, user_id)
    record = AccountMade(**dict(found), generated=None if generated is None else generated.reveal())
    return made(record, record.version, f"/v1/accounts/{record.user}") if new else shown(record, record.version)
