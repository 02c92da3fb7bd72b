"""Groups."""

from pydantic import Field

from admin_api.models.fields import Page, Record, Request, Version
from gateway.access.model import Group, Snapshot
from gateway.services.groups import member_names


class NewGroup(Request):
    name: str = Field(examples=["analysts"])
    members: list[str] = Field([], max_length=1000, description="Names of users.", examples=[["ana"]])


class GroupRecord(Record):
    id: str
    name: str = Field(examples=["analysts"])
    members: list[str] = Field(examples=[["ana"]])
    grants: int = Field(description="How many it holds.")
    version: Version


class GroupPage(Page):
    items: list[GroupRecord]


def group_record(snapshot: Snapshot, group: Group) -> GroupRecord:
    return GroupRecord(
        id=group.id,
        name=group.name,
        members=member_names(snapshot, group),
        grants=len(snapshot.grants.get(group.id, ())),
        version=group.version,
    )
