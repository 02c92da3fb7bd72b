"""Who may do what as an admin, and why; and who could reach what."""

from pydantic import Field

from admin_api.models.fields import Record, Shown
from gateway.access.model import Permission
from gateway.access.permissions import TITLES, Holding, Verb
from gateway.services.access_report import Reach
from gateway.services.rights_shown import Reasons, Rights


class HoldingRecord(Record):
    permission: Permission
    role: str = Field(examples=["dba"])
    explicit: bool = Field(description="The role holds it itself; else it holds another one that includes it.")
    by: Permission = Field(description="What the role holds.")


class RightsThere(Record):
    environment: str = Field(examples=["production"])
    permissions: list[HoldingRecord]
    targets: list[str] = Field(examples=[["shop"]])


class RightsRecord(Record):
    user: str = Field(examples=["ana"])
    active: bool = Field(description="The account may act at all at the moment.")
    owner: bool = Field(description="May do everything everywhere.")
    roles: list[str] = Field(examples=[["dba"]])
    environments: list[RightsThere]


class ReasonsRecord(Record):
    user: str = Field(examples=["ana"])
    verb: str = Field(examples=["targets.delete"])
    resource: str = Field(description="Of the matrix.", examples=["database"])
    action: str = Field(description="Of the matrix.", examples=["deprovision"])
    environment: str | None
    target: str | None
    allowed: bool
    because: list[HoldingRecord] = Field(description="Each of these alone suffices.")
    needed: list[Permission] = Field(description="Any of these allows it, in that environment; none: it is for owners.")
    givers: list[str] = Field(description="Owners, who can give them. So can whoever runs commands on the gateway's machine.")


class VerbRecord(Record):
    verb: str = Field(examples=["targets.delete"])
    resource: str
    action: str
    scope: str = Field(description="target, environment, account (owners), self or anybody.")
    changes: bool
    permissions: list[Permission]


class VerbList(Record):
    items: list[VerbRecord]
    titles: dict[Permission, str]


class ReachRecord(Record):
    user: str
    target: str
    environment: str
    mode: str
    through: str = Field(description="self, group NAME or role NAME.")
    grant: str
    since: Shown | None = Field(description="null: before the record begins.")
    until: Shown | None = Field(description="null: no end.")
    account: str = Field(description="active, disabled, expired or deleted, as it is now.")


class AccessReport(Record):
    items: list[ReachRecord]


def rights_record(rights: Rights) -> RightsRecord:
    return RightsRecord(
        user=rights.user,
        active=rights.active,
        owner=rights.owner,
        roles=list(rights.roles),
        environments=[
            RightsThere(
                environment=each.environment, permissions=[_holding(held) for held in each.holdings], targets=list(each.targets)
            )
            for each in rights.environments
        ],
    )


def reasons_record(reasons: Reasons) -> ReasonsRecord:
    return ReasonsRecord(
        user=reasons.user,
        verb=reasons.verb.name,
        resource=reasons.verb.resource,
        action=reasons.verb.action,
        environment=reasons.environment,
        target=reasons.target,
        allowed=reasons.allowed,
        because=[_holding(held) for held in reasons.because],
        needed=list(reasons.needed),
        givers=list(reasons.givers),
    )


def verb_record(verb: Verb) -> VerbRecord:
    return VerbRecord(
        verb=verb.name,
        resource=verb.resource,
        action=verb.action,
        scope=verb.scope.value,
        changes=verb.kind.value == "change",
        permissions=[each for each in Permission if each in verb.allowed_by],
    )


def verb_list(verbs: list[Verb]) -> VerbList:
    return VerbList(items=[verb_record(verb) for verb in verbs], titles=dict(TITLES))


def reach_record(reach: Reach) -> ReachRecord:
    return ReachRecord(
        user=reach.user,
        target=reach.target,
        environment=reach.environment,
        mode=reach.mode,
        through=reach.through,
        grant=reach.grant,
        since=reach.since,
        until=reach.until,
        account=reach.account,
    )


def _holding(holding: Holding) -> HoldingRecord:
    return HoldingRecord(permission=holding.gives, role=holding.role, explicit=holding.explicit, by=holding.held)
