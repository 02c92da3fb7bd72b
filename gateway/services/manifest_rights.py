"""What a manifest changes about grants and allowlist entries. Pure."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeVar

from gateway.access.model import AllowlistEntry, Grant, Snapshot
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.services.allowlist import Everybody, Level, NamedEntry, OfTarget, OfUser, level_text, name_entries, read_network
from gateway.services.change import shown
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import TERMS, Terms, before_detail, check_terms, terms_detail, terms_of, with_terms
from gateway.services.grants import GroupHolder, Holder, NamedGrant, UserHolder, grant_detail, grant_text, standing_grants
from gateway.services.lookup import find_group, find_target, find_user, is_live
from gateway.services.manifest_change import Action, Change, Draft, Drafts, Kind, Means, Note, at, differing, values
from gateway.services.manifest_model import EntryPart, GrantPart, JsonValue, Manifest
from gateway.services.naming import check_expiry, check_remark

ENTRY_FIELDS: Final = ("label", "valid_until")

_PLAIN: Final = Terms()
_ALWAYS: Final = ("valid_until", "options", "max_changed_rows")

_GrantKey = tuple[Holder, str, AccessMode]
_EntryKey = tuple[Level, IPv4Network | IPv6Network]
K = TypeVar("K")
P = TypeVar("P")


def draft_grants(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as users, groups and targets will be."""
    known: dict[_GrantKey, list[NamedGrant]] = {}
    for named in standing_grants(snapshot):
        known.setdefault((named.holder, named.target_name, named.grant.mode), []).append(named)
    stated: dict[_GrantKey, list[GrantPart]] = {}
    for part in manifest.grants:
        alike = stated.setdefault((_holder(part), part.target, part.mode), [])
        if part in alike:
            raise _twice(_grant_name(part))
        alike.append(part)
    drafts: list[Draft | None] = []
    for key, parts in stated.items():
        with at(f"grant of {_grant_name(parts[0])}"):
            for part, old in _pair(parts, known.get(key, []), means):
                drafts.append(
                    _create_grant(snapshot, part, means) if old is None else _change_grant(snapshot, part, old, means)
                )
                if old is not None:
                    known[key].remove(old)
    others = [named for alike in known.values() for named in alike] if manifest.states("grants") else []
    removed = [_revoke(named) for named in others] if prune else []
    return Drafts((*removed, *(draft for draft in drafts if draft is not None)), snapshot, len(others))


def _pair(parts: list[GrantPart], known: list[NamedGrant], means: Means) -> list[tuple[GrantPart, NamedGrant | None]]:
    """Of one holder, target and mode there may be several: each part goes with the grant that it says most of; None: with none."""
    left, pairs = list(known), dict.fromkeys(range(len(parts)))

    def distance(part: GrantPart, named: NamedGrant) -> tuple[int, bool]:
        return len(differing(part, terms_of(named.grant), TERMS)), _has_given_way(part, named.grant, means)

    for exact in (True, False):
        for number, part in enumerate(parts):
            found = min(left, key=lambda named: distance(part, named), default=None)
            if pairs[number] is None and found is not None and (not exact or distance(part, found) == (0, False)):
                pairs[number] = found
                left.remove(found)
    return list(zip(parts, pairs.values(), strict=True))


def draft_entries(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as users and targets will be."""
    known = {(named.level, named.entry.network): named for named in name_entries(snapshot)}
    stated: dict[_EntryKey, EntryPart] = {}
    for part in manifest.allowlist:
        with at("allowlist"):
            _add(stated, (_level(part), read_network(part.network)), part, f"{part.network} ({level_text(_level(part))})")
    others = [named for key, named in known.items() if key not in stated] if manifest.states("allowlist") else []
    drafts = [_delete(named) for named in others] if prune else []
    for (level, network), part in stated.items():
        with at(f"{network} on the list of {level_text(level)}"):
            old = known.get((level, network))
            draft = (
                _create_entry(snapshot, part, level, network, means)
                if old is None
                else _change_entry(snapshot, part, old, means)
            )
        drafts += [draft] if draft is not None else []
    return Drafts(tuple(drafts), snapshot, len(others))


def _add(stated: dict[K, P], key: K, part: P, name: str) -> None:
    if key in stated:
        raise _twice(name)
    stated[key] = part


def _twice(name: str) -> ServiceError:
    return ServiceError("manifest-duplicate", f"{name} is in the manifest twice", "Leave one of the two out.")


def _holder(part: GrantPart) -> Holder:
    return UserHolder(part.user) if part.user is not None else GroupHolder(part.group or "")


def _grant_name(part: GrantPart) -> str:
    """As `grant_text`, with the access mode, of which a holder may have both."""
    holder = _holder(part)
    group = "group " if isinstance(holder, GroupHolder) else ""
    return f"{group}{holder.name} on {part.target}, {part.mode}"


def _create_grant(snapshot: Snapshot, part: GrantPart, means: Means, replaced: Grant | None = None) -> Draft:
    check_expiry(part.valid_until, means.now)
    terms = _terms(part, Terms())
    check_terms(part.mode, terms)
    holder = _holder(part)
    held_by = find_user(snapshot, holder.name) if isinstance(holder, UserHolder) else find_group(snapshot, holder.name)
    grant = with_terms(Grant(means.new_id(), held_by.id, find_target(snapshot, part.target).id, part.mode, None), terms)
    named = NamedGrant(grant, holder, part.target)
    detail = grant_detail(named) | terms_detail(terms) | {"replaced": replaced.id if replaced else None}
    note = Note("grant.created", grant.id, grant_text(named), detail)
    before = {} if replaced is None else _values(terms_of(replaced))
    action = Action.CREATE if replaced is None else Action.CHANGE
    change = Change(Kind.GRANT, action, _grant_name(part), before, _values(terms_of(grant)))
    return Draft(change, (note,), (grant,), () if replaced is None else (replaced,))


def _change_grant(snapshot: Snapshot, part: GrantPart, named: NamedGrant, means: Means) -> Draft | None:
    old = named.grant
    if _has_given_way(part, old, means):
        return _create_grant(snapshot, part, means, replaced=old)
    before, after = terms_of(old), _terms(part, terms_of(old))
    fields = differing(part, before, TERMS)
    if not fields:
        return None
    if "valid_until" in fields:
        check_expiry(after.valid_until, means.now)
    check_terms(old.mode, after)
    change = Change(Kind.GRANT, Action.CHANGE, _grant_name(part), values(before, fields), values(after, fields))
    detail = grant_detail(named) | terms_detail(after) | before_detail(before)
    note = Note("grant.changed", old.id, grant_text(named), detail)
    return Draft(change, (note,), (with_terms(old, after),))


def _values(terms: Terms) -> dict[str, JsonValue]:
    """Of a new or a removed grant: what people always want to know, and what is not as it would be anyway."""
    return values(terms, [name for name in TERMS if name in _ALWAYS or getattr(terms, name) != getattr(_PLAIN, name)])


def _terms(part: GrantPart, otherwise: Terms) -> Terms:
    """What the manifest does not state is as it is otherwise."""
    return replace(otherwise, **{name: getattr(part, name) for name in TERMS if part.states(name)})


def _has_given_way(part: GrantPart | EntryPart, old: Grant | AllowlistEntry, means: Means) -> bool:
    """What is over counts as not there, as with the verbs; unless the manifest states that very end, as an export does."""
    if is_live(old.valid_until, means.now):
        return False
    return not part.states("valid_until") or part.valid_until != old.valid_until


def _revoke(named: NamedGrant) -> Draft:
    text = grant_text(named)
    change = Change(Kind.GRANT, Action.REMOVE, f"{text}, {named.grant.mode}", _values(terms_of(named.grant)), {})
    note = Note("grant.revoked", named.grant.id, text, grant_detail(named))
    return Draft(change, (note,), removals=(named.grant,))


def _level(part: EntryPart) -> Level:
    if part.user is not None:
        return OfUser(part.user)
    return OfTarget(part.target) if part.target is not None else Everybody()


def _create_entry(
    snapshot: Snapshot,
    part: EntryPart,
    level: Level,
    network: IPv4Network | IPv6Network,
    means: Means,
    replaced: AllowlistEntry | None = None,
) -> Draft:
    check_remark("label", part.label)
    check_expiry(part.valid_until, means.now)
    target = find_target(snapshot, part.target) if part.target is not None else None
    user = find_user(snapshot, part.user) if part.user is not None else None
    entry = AllowlistEntry(
        means.new_id(), network, part.label, part.valid_until, target.id if target else None, user.id if user else None
    )
    detail = _entry_detail(level, entry) | {"valid_until": shown(entry.valid_until)}
    before = {} if replaced is None else values(replaced, ENTRY_FIELDS)
    action = Action.CREATE if replaced is None else Action.CHANGE
    change = Change(Kind.ALLOWLIST, action, _entry_name(level, entry), before, values(entry, ENTRY_FIELDS))
    note = Note("allowlist.entry_created", entry.id, str(network), detail)
    return Draft(change, (note,), (entry,), () if replaced is None else (replaced,))


def _change_entry(snapshot: Snapshot, part: EntryPart, named: NamedEntry, means: Means) -> Draft | None:
    old = named.entry
    if _has_given_way(part, old, means):
        return _create_entry(snapshot, part, named.level, old.network, means, replaced=old)
    fields = differing(part, old, ENTRY_FIELDS)
    if not fields:
        return None
    check_remark("label", part.label)
    if "valid_until" in fields:
        check_expiry(part.valid_until, means.now)
    entry = replace(
        old,
        label=part.label if "label" in fields else old.label,
        valid_until=part.valid_until if "valid_until" in fields else old.valid_until,
    )
    detail = _entry_detail(named.level, entry) | {
        "valid_until": shown(entry.valid_until),
        "before_label": old.label,
        "before": shown(old.valid_until),
    }
    change = Change(Kind.ALLOWLIST, Action.CHANGE, _entry_name(named.level, entry), values(old, fields), values(entry, fields))
    return Draft(change, (Note("allowlist.entry_changed", entry.id, str(entry.network), detail),), (entry,))


def _delete(named: NamedEntry) -> Draft:
    entry = named.entry
    change = Change(Kind.ALLOWLIST, Action.REMOVE, _entry_name(named.level, entry), values(entry, ENTRY_FIELDS), {})
    note = Note("allowlist.entry_deleted", entry.id, str(entry.network), _entry_detail(named.level, entry))
    return Draft(change, (note,), removals=(entry,))


def _entry_name(level: Level, entry: AllowlistEntry) -> str:
    return f"{entry.network} ({level_text(level)})"


def _entry_detail(level: Level, entry: AllowlistEntry) -> dict[str, DetailValue]:
    return {"level": level_text(level), "label": entry.label}
