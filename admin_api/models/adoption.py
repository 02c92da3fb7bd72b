"""Adopting a target. An admin's URL comes in and never goes out again."""

from collections.abc import Iterable

from pydantic import Field

from admin_api.models.fields import Password, Record, Request, Shown, Tls
from admin_api.models.targets import CheckStepRecord
from gateway.access_mode import AccessMode
from gateway.ports import CheckStep, FormerLogin, Severity, TargetAdmin
from gateway.services.adoption_plan import Plan
from gateway.services.adoption_undo import Undone

_URL = "The database's admin URL, with its password. It is never shown. null: the admin login that is kept."


class Adoption(Request):
    """`admin_url` is used at once, and kept sealed if `keep_admin`: for rotating passwords, its own too."""

    admin_url: Password | None = Field(
        None, description=_URL, examples=["postgresql://postgres:password@db.internal:5432/webshop?sslmode=verify-full"]
    )
    keep_admin: bool = Field(True, description="false: nothing of the URL is kept.")
    read_only_role: str | None = Field(None, description="null: named like the target.", examples=["shop_ro"])
    read_write_role: str | None = Field(None, description="null: named like the target.", examples=["shop_rw"])
    no_read_write: bool = Field(False, description="Make no role that writes.")
    schemas: list[str] = Field([], max_length=1000, description="None: all that hold tables.", examples=[["public"]])
    connection_limit: int = Field(100, description="Of each role.")
    tls: Tls | None = Field(None, description="Of a new target; null: as the URL says, else verify-full.")
    ca_pem: str | None = Field(None, max_length=256 * 1024, description="Of a new target: CA certificates to trust.")
    environment: str | None = Field(None, description="Of a new target: its environment.", examples=["production"])
    dry_run: bool = Field(False, description="Change nothing, here or there: say what would be done.")


class Undoing(Request):
    admin_url: Password | None = Field(None, description=_URL)
    restore: bool = Field(True, description="The target gets back the logins that it had; false: it is left without.")
    reassign_to: str | None = Field(None, description="Who gets what the roles own; null: the admin login.", examples=["owner"])
    dry_run: bool = False


class AdoptionFinding(Record):
    severity: Severity
    text: str
    remedy: str = Field(description="SQL for the database's administrator.")


class AdoptionStep(CheckStepRecord):
    mode: AccessMode


class AdoptionRecord(Record):
    target: str = Field(examples=["shop"])
    ok: bool = Field(description="All is as it should be; of a dry run: it could be done.")
    dry_run: bool
    created: bool = Field(description="The target is new.")
    todo: list[str] = Field(description="What was, or is to be, done in the database; empty: nothing.")
    sql: str = Field(description="What was, or would be, run there, without passwords.")
    findings: list[AdoptionFinding]
    steps: list[AdoptionStep] = Field(description="How the logins did when they were tried, in order.")
    switched: list[AccessMode] = Field(description="Whose login is a new one, or has a new password.")
    said: list[str] = Field(description="What the server remarked.")
    admin: str | None = Field(description="The admin login that is kept, sealed.")


class FormerLoginRecord(Record):
    mode: AccessMode
    login: str
    replaced_at: Shown


class AdoptionState(Record):
    target: str
    admin: str | None = Field(description="The admin login that is kept, sealed.")
    adopted_at: Shown | None
    rotated_at: Shown | None = Field(description="When its password was last rotated: since then nobody else knows it.")
    former_logins: list[FormerLoginRecord] = Field(description="What undoing the adoption brings back.")


class UndoneRecord(Record):
    target: str
    dry_run: bool
    dropped: list[str] = Field(description="Roles that are gone from the server, or would be.")
    logins: dict[AccessMode, str] = Field(description="What the target uses now.")
    sql: str
    admin_kept: str = Field(description="Why the admin login is kept; empty: it is forgotten.")


def plan_record(name: str, plan: Plan, *, created: bool) -> AdoptionRecord:
    return AdoptionRecord(
        target=name,
        ok=True,
        dry_run=True,
        created=created,
        todo=list(plan.todo),
        sql=plan.script,
        findings=[AdoptionFinding(severity=each.severity, text=each.text, remedy=each.remedy) for each in plan.findings],
        steps=[],
        switched=[],
        said=[],
        admin=None,
    )


def step_records(steps: Iterable[tuple[AccessMode, CheckStep]]) -> list[AdoptionStep]:
    return [AdoptionStep(mode=mode, name=step.name, ok=step.ok, detail=step.detail, remedy=step.remedy) for mode, step in steps]


def state_record(name: str, admin: TargetAdmin | None, former: list[FormerLogin]) -> AdoptionState:
    return AdoptionState(
        target=name,
        admin=None if admin is None else admin.login,
        adopted_at=None if admin is None else admin.adopted_at,
        rotated_at=None if admin is None else admin.rotated_at,
        former_logins=[
            FormerLoginRecord(mode=each.mode, login=each.role.login, replaced_at=each.replaced_at) for each in former
        ],
    )


def undone_record(name: str, undone: Undone, *, dry_run: bool) -> UndoneRecord:
    return UndoneRecord(
        target=name,
        dry_run=dry_run,
        dropped=list(undone.dropped),
        logins=undone.logins,
        sql=undone.script,
        admin_kept=undone.admin_kept,
    )
