"""What a login role of a person owns and was given: passed on, or taken from it, so that it can be dropped."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.custody import login_sql
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError
from gateway.quoting import quoted


async def empty(admin: AdminConnection, login: str, heirs: Sequence[str]) -> None:
    """Within a transaction, in the database of this connection. Raises UpstreamAdminError."""
    owns = bool(await admin.rows(login_sql.ask_owned(login)))
    heir = await _heir(admin, heirs) if owns else None
    needed = [login] if heir is None else [login, heir]
    async with borrowed(admin, needed):
        await admin.run(";\n".join(login_sql.empty(login, heir)))


async def _heir(admin: AdminConnection, heirs: Sequence[str]) -> str:
    there = {name for (name,) in await admin.rows(login_sql.ask_there(heirs))}
    heir = next((each for each in heirs if each in there), None)
    if heir is None:
        raise UpstreamAdminError("statement", "the database role that should have what it owns is not there any more")
    return heir


async def what_is_left(admin: AdminConnection, login: str) -> str:
    """Only who owns a thing takes away what they granted on it."""
    left = [
        f"{thing or 'something'}{f' in {place}' if place else ''}"
        for place, thing in await admin.rows(login_sql.ask_left(login))
    ]
    if not left:
        return ""
    how = f"DROP OWNED BY {quoted(login)};"
    what = ", ".join(left)
    return f"somebody gave it, and not its database role, rights on {what}; a superuser can end that there: {how}"


@asynccontextmanager
async def borrowed(admin: AdminConnection, roles: Sequence[str]) -> AsyncIterator[None]:
    """The admin has the rights of these roles, within a transaction, and no other than before after it."""
    if admin.is_superuser:
        yield
        return
    mine = {name for (name,) in await admin.rows(login_sql.ask_own_grants(roles, admin.major))}
    lent = [role for role in roles if role not in mine and role != admin.welcome.statuses.get("session_authorization")]
    for role in lent:
        await admin.run(login_sql.borrow(role, admin.major))
    yield
    for role in lent:
        await admin.run(login_sql.give_back(role))
