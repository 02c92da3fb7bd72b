"""Environments: targets that admins are given rights for together."""

from dataclasses import replace

from gateway.access.model import DEFAULT_ENVIRONMENT, Environment, Snapshot
from gateway.ports import Store
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_environment, find_target
from gateway.services.naming import check_environment_name


def environment_name(snapshot: Snapshot, environment_id: str) -> str:
    """ "" for one that is not there (or not to be seen)."""
    return next((each.name for each in snapshot.environments.values() if each.id == environment_id), "")


async def create_environment(store: Store, *, name: str, actor: str, reason: str) -> Environment:
    """A new one, without targets; nobody but owners has rights in it."""
    check_environment_name(name)
    async with begin(store, actor, reason) as change:
        check_name_is_free("environment", name, change.whole.environments)
        return await change.save(Environment(new_id(), name), "environment.created", name)


async def rename_environment(
    store: Store, *, name: str, new_name: str, actor: str, reason: str, expected_version: int | None = None
) -> Environment:
    """Rights and targets stay as they are."""
    check_environment_name(new_name)
    async with begin(store, actor, reason) as change:
        old = find_environment(change.snapshot, name, expected_version)
        check_name_is_free("environment", new_name, (each for each in change.whole.environments if each != name))
        if new_name == name:
            raise ServiceError("nothing-to-change", f'environment "{name}" is called that already')
        return await change.save(replace(old, name=new_name), "environment.renamed", new_name, {"before": name})


async def delete_environment(
    store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None
) -> Environment:
    """Only an empty one. What admin roles held in it is gone, too, and what could be asked for there."""
    async with begin(store, actor, reason) as change:
        old = find_environment(change.snapshot, name, expected_version)
        if old.id == DEFAULT_ENVIRONMENT:
            raise ServiceError("environment-needed", f'environment "{name}" cannot be deleted', "New targets go there.")
        if inside := sorted(each.name for each in change.whole.targets.values() if each.environment_id == old.id):
            raise ServiceError(
                "environment-in-use",
                f'environment "{name}" holds {len(inside)} targets, among them {inside[0]}',
                "Move them elsewhere or delete them first: pgbastion targets move TARGET --environment NAME",
            )
        change.remove(old, "environment.deleted", name)
        for policy in change.whole.approval_policies.values():
            if policy.environment_id == old.id:
                change.takes_along(policy)
                change.note("approval_policy.deleted", policy.id, policy.name, {"environment": name})
        for role in change.whole.admin_roles.values():
            if old.id in role.permissions:
                kept = {key: held for key, held in role.permissions.items() if key != old.id}
                change.follows(replace(role, permissions=kept))
        await change.commit()
        return old


async def move_to_environment(
    store: Store, *, name: str, environment: str, actor: str, reason: str, expected_version: int | None = None
) -> None:
    """Put a target into another environment. What stood on a right in the former one ends."""
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name, expected_version)
        place = find_environment(change.snapshot, environment)
        if target.environment_id == place.id:
            raise ServiceError("nothing-to-change", f'target "{name}" is in environment "{environment}" already')
        detail = {"environment": environment, "before": environment_name(change.whole, target.environment_id)}
        await change.save(replace(target, environment_id=place.id), "target.environment_changed", name, detail)
