"""The seams between the core and the world. Adapters implement them; nothing here does anything."""

from gateway.ports.answers import (
    CatalogRefresh,
    CheckStep,
    EntryPreview,
    OpenedObject,
    RoleAudit,
    RoleFinding,
    SessionFacts,
    Severity,
    TargetHealth,
    UpstreamProcess,
)
from gateway.ports.audit import AuditSink
from gateway.ports.changes import Store, UnitOfWork
from gateway.ports.directory import Directory
from gateway.ports.live import GatewayUnavailable, LiveGateway
from gateway.ports.rows import (
    ChangeableRow,
    FormerLogin,
    GrantEnding,
    IdempotencyClaim,
    Lockdown,
    OutboxMessage,
    OutboxState,
    OutsideLook,
    OutsideUse,
    Redelivery,
    RequestFilter,
    SessionTermination,
    TargetAdmin,
    TargetObservation,
)
from gateway.ports.secrets import SealedUse, Sealer, SecretBox, SecretSource, SecretUnavailable, Vault

__all__ = [
    "AuditSink",
    "CatalogRefresh",
    "ChangeableRow",
    "CheckStep",
    "Directory",
    "EntryPreview",
    "FormerLogin",
    "GatewayUnavailable",
    "GrantEnding",
    "IdempotencyClaim",
    "LiveGateway",
    "Lockdown",
    "OpenedObject",
    "OutboxMessage",
    "OutboxState",
    "OutsideLook",
    "OutsideUse",
    "Redelivery",
    "RequestFilter",
    "RoleAudit",
    "RoleFinding",
    "SealedUse",
    "Sealer",
    "SecretBox",
    "SecretSource",
    "SecretUnavailable",
    "SessionFacts",
    "SessionTermination",
    "Severity",
    "Store",
    "TargetAdmin",
    "TargetHealth",
    "TargetObservation",
    "UnitOfWork",
    "UpstreamProcess",
    "Vault",
]
