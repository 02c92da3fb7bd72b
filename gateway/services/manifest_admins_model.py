"""The sections of a manifest that are about admins: where, who may do what there, who signs in and how."""

from pydantic import Field, model_validator

from gateway.access.model import Permission
from gateway.services.manifest_fields import Name, Permissions, SecretReference
from gateway.services.manifest_part import Part

_MAX_MEMBERS = 100_000


class EnvironmentPart(Part):
    """Targets that admins are given rights for together. The first one, which every store has, is never removed."""

    name: Name = Field(description="The environment's name.")


class RolePart(Part):
    """An admin role. The one called owners, which every store has, may do everything everywhere, and is never removed."""

    name: Name = Field(description="The admin role's name.")
    members: list[Name] = Field(
        default=[],
        max_length=_MAX_MEMBERS,
        description="All who hold it, by user name; from others it is taken. The last owner stays.",
    )
    permissions: dict[str, Permissions] = Field(
        default={},
        max_length=1000,
        description=f"All that it allows, by environment: any of {', '.join(Permission)}. Nothing can be given to owners.",
    )


class IdentityPart(Part):
    """Somebody at an identity provider."""

    issuer: str = Field(min_length=1, max_length=500, description="The provider's issuer, as in the settings (oidc.issuer).")
    subject: str = Field(min_length=1, max_length=255, description="Who it is there: the claim sub.")


class AccountPart(Part):
    """A user who may sign in to the admin API. Neither a password nor an authenticator's secret is ever exported."""

    user: Name = Field(description="The user's name.")
    password: SecretReference | None = Field(
        None,
        description="Where the first password for signing in is. It is for an account that has none; one that is there stays "
        "(to replace it: pgbastion accounts recover). A new account needs this or an identity.",
    )
    identity: IdentityPart | None = Field(
        None,
        description="Who they are to the identity provider; null: they do not sign in through it. Another one ends sign-ins.",
    )
    managed: bool = Field(False, description="True: access to databases ends, too, when the provider does not vouch for them.")


class MappingPart(Part):
    """What a group at the identity provider means here."""

    value: str = Field(min_length=1, max_length=255, description="As the provider's group claim has it.")
    group: Name | None = Field(None, description="Its members are members of this group.")
    role: Name | None = Field(None, description="Its members hold this admin role.")

    @model_validator(mode="after")
    def _one_object(self) -> "MappingPart":
        if (self.group is None) == (self.role is None):
            raise ValueError("give either group or role")
        return self
