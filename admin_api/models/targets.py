"""Targets. A login's password comes in and never goes out again."""

from pydantic import Field

from admin_api.models.fields import Lists, Mode, Page, Password, Record, Request, Tls, Version
from gateway.access.managed import ManagedMode
from gateway.access.model import ListMode, Snapshot, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.ports import CatalogRefresh, CheckStep, EntryPreview, RoleAudit, Severity, TargetHealth
from gateway.services.environments import environment_name


class NewTarget(Request):
    """Every part of the place is a field of its own: there is no connection string that could mean something else."""

    name: str = Field(examples=["shop"])
    host: str = Field(description="A host name or an address.", examples=["db.internal"])
    port: int = Field(5432, examples=[5432])
    dbname: str = Field(examples=["webshop"])
    tls: Tls = TlsMode.VERIFY_FULL
    ca_pem: str | None = Field(None, max_length=256 * 1024, description="CA certificates to trust; null: the system's.")
    allow_md5: bool = Field(False, description="Accept md5 password authentication upstream.")
    max_sessions: int | None = Field(
        None, description="At most so many at a time; null: only the gateway's limits.", examples=[20]
    )
    open_ahead: int = Field(
        0,
        description="So many upstream sessions of each access mode are opened ahead and wait for clients, over all workers.",
        examples=[2],
    )
    environment: str | None = Field(None, description="Its name; null: the one that is always there.", examples=["production"])


class NewPlace(Request):
    environment: str = Field(description="Its name.", examples=["production"])


class TargetPatch(Request):
    """What is left out stays. null for `ca_pem`: the system's CAs; for `max_sessions`: only the gateway's limits; for
    `rotate_every_days`: by hand alone.
    """

    host: str | None = Field(None, examples=["db2.internal"])
    port: int | None = None
    dbname: str | None = None
    tls: Tls | None = None
    ca_pem: str | None = Field(None, max_length=256 * 1024)
    allow_md5: bool | None = None
    enabled: bool | None = None
    allowlist: Lists | None = None
    max_sessions: int | None = Field(None, examples=[20])
    open_ahead: int | None = Field(None, examples=[2])
    rotate_every_days: int | None = Field(None, examples=[30])
    passwords: dict[Mode, Password] | None = Field(
        None,
        description="Of its upstream logins, given again: needed for another host or port, weaker TLS, other CAs, and md5.",
        examples=[{"read_only": "the upstream password"}],
    )


class NewLogin(Request):
    """Either `password` or `secret_from`."""

    login: str = Field(description="The database role to log in as upstream.", examples=["app_ro"])
    password: Password | None = Field(None, description="It is sealed and never shown.")
    secret_from: str | None = Field(
        None,
        max_length=1000,
        description="Where the password is kept instead: file:, env:, vault:, aws-sm:, gcp-sm: or rds-iam: and the place there. "
        "It must begin as one of secrets.allowed in the settings.",
        examples=["vault:kv/pgbastion/shop#password"],
    )


class TargetRecord(Record):
    """`host`, `dbname` and what follows them are empty for who may see only the basic facts."""

    id: str
    name: str = Field(examples=["shop"])
    environment: str = Field(examples=["production"])
    host: str
    port: int
    dbname: str
    tls: TlsMode
    own_ca: bool
    allow_md5: bool
    enabled: bool
    allowlist: ListMode
    logins: dict[AccessMode, str] = Field(
        description="The database role of each access mode.", examples=[{"read_only": "app_ro"}]
    )
    secrets_from: dict[AccessMode, str] = Field(
        description="Where the password of a login is kept, if not here.", examples=[{"read_only": "vault:kv/pgbastion/shop"}]
    )
    allowed_functions: list[str]
    allowed_schemas: list[str]
    allowed_settings: list[str]
    max_sessions: int | None
    open_ahead: int
    rotate_every_days: int | None = Field(description="So often the passwords of its logins are changed by themselves.")
    managed: ManagedMode = Field(description="Whose database role its sessions use.")
    version: Version


class TargetPage(Page):
    items: list[TargetRecord]


class CheckStepRecord(Record):
    name: str = Field(examples=["DNS"])
    ok: bool
    detail: str
    remedy: str


class CheckRecord(Record):
    target: str
    mode: AccessMode
    ok: bool = Field(description="Every step went well.")
    steps: list[CheckStepRecord] = Field(description="In order, ending with the first that failed.")


class HealthRecord(Record):
    target: str = Field(examples=["shop"])
    mode: AccessMode
    state: str = Field(description="ok, failing or unknown: by what came last.", examples=["ok"])
    answered_at: str | None = Field(description="When a session could last be opened.")
    failed_at: str | None
    kind: str = Field(description="Why it failed last.", examples=["unreachable"])


class HealthPage(Page):
    items: list[HealthRecord]


class CatalogRefreshRecord(Record):
    worker: int
    login: str
    revision: str = Field(description="Equal revisions: the same is in the database, as far as it can run code.")
    seconds: float
    failure: str = Field(description="Why it could not be read again; then the former one stays. Empty: it was.")


class RefreshRecord(Record):
    target: str
    ok: bool = Field(description="Every worker with sessions there has read it.")
    catalogs: list[CatalogRefreshRecord] = Field(description="Of each worker with sessions there; perhaps of none.")


class RoleFindingRecord(Record):
    check: str = Field(examples=["membership"])
    severity: Severity
    detail: str
    meaning: str
    remedy: str = Field(description="SQL for the database's administrator.")


class RoleAuditRecord(Record):
    target: str
    mode: AccessMode
    login: str
    ok: bool = Field(description="The role could be looked at, and nothing above info was found.")
    findings: list[RoleFindingRecord] = Field(description="The heaviest first.")
    obstacle: CheckStepRecord | None = Field(description="Why the role could not be looked at.")


class OpenedRecord(Record):
    kind: str = Field(description="function, aggregate, operator, cast, type, view ...", examples=["function"])
    name: str = Field(examples=["public.revenue_of(integer)"])
    volatility: str = Field(description="Of functions: volatile, stable or immutable.", examples=["stable"])
    security_definer: bool
    language: str = Field(examples=["sql"])
    owner: str
    warnings: list[str]


class PreviewRecord(Record):
    target: str
    entry: str = Field(examples=["public.revenue_of"])
    ok: bool = Field(description="The database could be looked at, and there is nothing to warn of.")
    objects: list[OpenedRecord] = Field(description="What the entry opens; what there is to warn of first.")
    more: int = Field(description="How many are not listed here.")
    notes: list[str] = Field(description="About the entry as a whole.")
    obstacle: CheckStepRecord | None = Field(description="Why the database could not be looked at.")


class InitSql(Record):
    target: str
    sql: str = Field(description="For the database's administrator to run in that database. It holds no password.")


def target_record(snapshot: Snapshot, target: Target) -> TargetRecord:
    """`snapshot`: with the environment's name."""
    return TargetRecord(
        id=target.id,
        name=target.name,
        environment=environment_name(snapshot, target.environment_id),
        host=target.host,
        port=target.port,
        dbname=target.dbname,
        tls=target.tls,
        own_ca=target.ca_pem is not None,
        allow_md5=target.allow_md5,
        enabled=target.enabled,
        allowlist=target.allowlist,
        logins={mode: role.login for mode, role in sorted(target.roles.items())},
        secrets_from={mode: str(role.reference) for mode, role in sorted(target.roles.items()) if role.reference is not None},
        allowed_functions=sorted(target.allowed_functions),
        allowed_schemas=sorted(target.allowed_schemas),
        allowed_settings=sorted(target.allowed_settings),
        max_sessions=target.max_sessions,
        open_ahead=target.open_ahead,
        rotate_every_days=target.rotate_every_days,
        managed=target.managed,
        version=target.version,
    )


def check_record(target: str, mode: AccessMode, steps: list[CheckStep]) -> CheckRecord:
    shown = [CheckStepRecord(name=step.name, ok=step.ok, detail=step.detail, remedy=step.remedy) for step in steps]
    return CheckRecord(target=target, mode=mode, ok=bool(steps) and all(step.ok for step in steps), steps=shown)


def refresh_record(target: str, found: list[CatalogRefresh]) -> RefreshRecord:
    shown = [
        CatalogRefreshRecord(
            worker=each.worker, login=each.login, revision=each.revision, seconds=each.seconds, failure=each.failure
        )
        for each in found
    ]
    return RefreshRecord(target=target, ok=not any(each.failure for each in found), catalogs=shown)


def health_record(target: str, mode: AccessMode, found: TargetHealth | None) -> HealthRecord:
    if found is None:
        return HealthRecord(target=target, mode=mode, state="unknown", answered_at=None, failed_at=None, kind="")
    return HealthRecord(
        target=target,
        mode=mode,
        state=found.state,
        answered_at=found.answered_at,
        failed_at=found.failed_at,
        kind=found.kind,
    )


def role_audit_record(target: str, mode: AccessMode, found: RoleAudit) -> RoleAuditRecord:
    step = found.obstacle
    return RoleAuditRecord(
        target=target,
        mode=mode,
        login=found.login,
        ok=step is None and all(each.severity is Severity.INFO for each in found.findings),
        findings=[
            RoleFindingRecord(
                check=each.check, severity=each.severity, detail=each.detail, meaning=each.meaning, remedy=each.remedy
            )
            for each in found.findings
        ],
        obstacle=step and CheckStepRecord(name=step.name, ok=step.ok, detail=step.detail, remedy=step.remedy),
    )


def preview_record(target: str, found: EntryPreview) -> PreviewRecord:
    step = found.obstacle
    return PreviewRecord(
        target=target,
        entry=found.entry,
        ok=step is None and not any(each.warnings for each in found.objects),
        objects=[
            OpenedRecord(
                kind=each.kind,
                name=each.name,
                volatility=each.volatility,
                security_definer=each.security_definer,
                language=each.language,
                owner=each.owner,
                warnings=list(each.warnings),
            )
            for each in found.objects
        ],
        more=found.more,
        notes=list(found.notes),
        obstacle=None if step is None else CheckStepRecord(name=step.name, ok=step.ok, detail=step.detail, remedy=step.remedy),
    )
