"""What an admin login, and its server, must be like so that login roles of people can be made there."""

from collections.abc import Sequence
from typing import Final

from gateway.custody import login_sql
from gateway.custody.upstream_admin import AdminConnection
from gateway.quoting import quoted

_ROLES_OF_OTHERS: Final = 16  # from this major on CREATEROLE grants only roles that it has ADMIN OPTION of


class LoginRoleRefused(Exception):
    """The server is such that this cannot be done there. `rule` is a kebab-case id, `remedy` what its administrator can do."""

    def __init__(self, rule: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.remedy = remedy


async def check_means(admin: AdminConnection, member_of: Sequence[str]) -> None:
    """Raises LoginRoleRefused, UpstreamAdminError."""
    for replica, superuser, creates, name, role, there, is_super, grants in await admin.rows(login_sql.ask_means(member_of)):
        if replica == "t":
            raise LoginRoleRefused(
                "managed-on-replica",
                "the server is a read replica: no login roles can be made there",
                "Name the primary as the target's host, or leave the mode off for this target.",
            )
        if superuser != "t" and creates != "t":
            text, remedy = (
                f'the admin login "{name}" may not make roles',
                f"ALTER ROLE {quoted(name or '')} CREATEROLE;",
            )
            raise LoginRoleRefused("managed-without-createrole", text, remedy)
        if there != "t":
            text = f'the database role "{role}" is not there'
            raise LoginRoleRefused("managed-role-missing", text, "pgbastion targets init-sql makes it.")
        if is_super == "t":
            text = f'the database role "{role}" is a superuser, and members of it would be more than a gateway may give'
            raise LoginRoleRefused("managed-role-superuser", text, f"ALTER ROLE {quoted(role or '')} NOSUPERUSER;")
        if admin.major >= _ROLES_OF_OTHERS and superuser != "t" and grants != "t":
            text = f'the admin login "{name}" may not make members of the database role "{role}"'
            remedy = f"GRANT {quoted(role or '')} TO {quoted(name or '')} WITH ADMIN OPTION;"
            raise LoginRoleRefused("managed-without-admin-option", text, remedy)
