"""Manifests, and what applying one does."""

from pydantic import Field, JsonValue

from admin_api.models.fields import Record
from gateway.services.manifest import Action, Kind, Plan


class ManifestChange(Record):
    """One object that differs. A secret is never among the values: "(secret)" and "(changed)" stand in its place."""

    kind: Kind
    action: Action
    name: str = Field(examples=["ana"])
    before: dict[str, JsonValue]
    after: dict[str, JsonValue]


class PlanRecord(Record):
    """What was done, or with `dry_run` what would be."""

    revision: int = Field(description="The store's: with dry_run the one to expect when it is applied, else the one it made.")
    changes: list[ManifestChange]
    not_named: int = Field(description="Objects that the manifest does not name, of kinds that it has a section for.")
    dry_run: bool


def plan_record(plan: Plan, *, dry_run: bool) -> PlanRecord:
    changes = [
        ManifestChange.model_validate(
            {"kind": each.kind, "action": each.action, "name": each.name, "before": each.before, "after": each.after}
        )
        for each in plan.changes
    ]
    return PlanRecord(revision=plan.revision, changes=changes, not_named=plan.not_named, dry_run=dry_run)
