"""What `doctor` looks at where others are told of requests: what was given up, what waits, what is not set up or installed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.access.model import Snapshot
from gateway.cli.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from gateway.settings import Settings

_WAITING: Final = timedelta(minutes=15)
_MOST_NAMED: Final = 3


async def look_at_deliveries(settings: "Settings", snapshot: Snapshot, now: datetime) -> list[Finding]:
    """Nothing, where nobody is told anything."""
    found = [*_ways(settings), *_wanted(settings, snapshot), *_webhooks(settings, snapshot)]
    messages = await _messages(settings, now)
    return [*found, *messages] if found or snapshot.approval_policies else [each for each in messages if each.remedy]


async def _messages(settings: "Settings", now: datetime) -> list[Finding]:
    from gateway.ports import OutboxState
    from gateway.ports.outbox import MessageFilter
    from gateway.store import open_store
    from gateway.store.errors import StoreError

    outbox = open_store(settings).outbox
    try:
        counts = await outbox.count()
        newest = await outbox.messages(MessageFilter(state=OutboxState.DEAD, limit=_MOST_NAMED)) if counts.dead else []
    except StoreError as error:
        return [problem("messages", str(error), "See the finding about the store.")]
    if counts.dead:
        said = "; ".join(f"{each.destination.partition(':')[0]}: {each.last_error}" for each in newest)
        remedy = "See them with pgbastion webhooks deliveries --state dead; to try again: pgbastion webhooks redeliver"
        return [warning("messages", f"{counts.dead} given up, the newest: {said}", remedy)]
    if counts.oldest_pending_at is not None and now - counts.oldest_pending_at > _WAITING:
        text = f"{counts.pending} wait, the oldest since {counts.oldest_pending_at:%Y-%m-%d %H:%M} UTC"
        return [
            warning("messages", text, "Is the courier running (pgbastion serve, or serve --only courier)? Its log says more.")
        ]
    return [ok("messages", f"{counts.pending} wait, none was given up" if counts.pending else "all delivered")]


def _ways(settings: "Settings") -> Iterator[Finding]:
    """Each that is set up: its library, and the files that it reads."""
    mail, pagerduty, slack = settings.mail, settings.pagerduty, settings.slack
    if mail.host:
        yield _way("e-mail", "aiosmtplib", "mail", [mail.password_file, mail.ca_file], f"{mail.host}:{mail.port}, {mail.tls}")
    if pagerduty.token_file is not None:
        yield _way("PagerDuty", "pagerduty", "pagerduty", [pagerduty.token_file, pagerduty.ca_file], pagerduty.base_url)
    if slack.bot_token_file is not None:
        files = [slack.bot_token_file, slack.app_token_file, slack.signing_secret_file]
        yield _way("Slack", "slack_bolt", "slack", files, slack.api_url)


def _way(name: str, module: str, extra: str, files: list[Path | None], where: str) -> Finding:
    if find_spec(module) is None:
        return problem(name, "it is set up, but what it needs is not installed", f'pip install "pgbastion[{extra}]"')
    for file in files:
        if file is None:
            continue
        try:
            if not file.read_bytes().strip():
                return problem(name, f"{file} is empty", f"See section {extra} of the settings.")
        except OSError as error:
            return problem(name, f"{file}: {error.strerror}", f"See section {extra} of the settings.")
    return ok(name, where)


def _wanted(settings: "Settings", snapshot: Snapshot) -> Iterator[Finding]:
    """What approval policies name and nothing here delivers to."""
    there = {
        "mail": bool(settings.mail.host),
        "slack": settings.slack.bot_token_file is not None,
        "on-call": settings.pagerduty.token_file is not None,
    }
    for name, policy in sorted(snapshot.approval_policies.items()):
        named = [*policy.announce, *([f"on-call:{policy.on_call}"] if policy.on_call is not None else [])]
        for each in named:
            kind, _, place = each.partition(":")
            if kind == "webhook" and place not in snapshot.webhooks:
                yield warning(f"approval policy {name}", f'it names a webhook "{place}", which is not there', "Create it.")
            elif not there.get(kind, kind == "webhook"):
                section = {"on-call": "pagerduty"}.get(kind, kind)
                yield warning(f"approval policy {name}", f'nothing delivers to "{each}"', f"Set up section {section}.")


def _webhooks(settings: "Settings", snapshot: Snapshot) -> Iterator[Finding]:
    from gateway.ports import SealedUse
    from gateway.store.errors import VaultError
    from gateway.store.vault import SealedVault

    if not snapshot.webhooks:
        return
    try:
        vault = SealedVault.load(settings.key_file)
    except VaultError:
        return  # there is a finding about the key
    unreadable = []
    for name, webhook in sorted(snapshot.webhooks.items()):
        try:
            vault.open_for(SealedUse.WEBHOOK, webhook.id, webhook.sealed_secret)
            if webhook.sealed_url_secret is not None:
                vault.open_for(SealedUse.WEBHOOK_URL, webhook.id, webhook.sealed_url_secret)
        except VaultError:
            unreadable.append(name)
    if unreadable:
        text = f"secrets that the master key does not open: {', '.join(unreadable[:_MOST_NAMED])}"
        yield problem("webhooks", text, "Rotate their secrets: pgbastion webhooks rotate-secret NAME")
    else:
        disabled = sum(not each.enabled for each in snapshot.webhooks.values())
        yield ok("webhooks", f"{len(snapshot.webhooks)}{f', {disabled} of them disabled' if disabled else ''}")
