"""`make demo ARGS=--tour`: shows each promise on the running demo and checks it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg

from gateway.demo.evidence import Evidence, find_record, instant_of, read_audit, upstream_activity, upstream_rows
from gateway.demo.narrator import Narrator
from gateway.demo.stage import ADDRESS, ANALYST, TARGET, DemoError, Stage
from gateway.demo.visitor import (
    ENDLESS,
    BrokenPromise,
    connect,
    connected,
    describe,
    expect_denial,
    in_background,
    run,
    show,
)

_READING: Final = "SELECT name, category, sold FROM shop.best_sellers ORDER BY sold DESC, name LIMIT 3"
_INSERT: Final = "INSERT INTO shop.customers VALUES (0, 'Mallory', 'm@mail.example', 'Nowhere', now(), true)"
_HIDDEN_IN_CTE: Final = "WITH gone AS (DELETE FROM billing.payments RETURNING amount) SELECT sum(amount) FROM gone"
_HIDDEN_IN_FUNCTION: Final = "SELECT shop.refresh_totals()"
_PATIENCE_SECONDS: Final = 10.0
_PROMISED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """`show` prints what happens and returns one sentence about what was seen; it raises BrokenPromise otherwise."""

    title: str
    show: Callable[[Stage, Narrator], str]


def take_tour(stage: Stage, narrator: Narrator) -> bool:
    """All steps, also after a broken one. True when every promise was kept."""
    broken = 0
    for number, step in enumerate(_STEPS, 1):
        narrator.heading(f"{number}. {step.title}")
        try:
            narrator.kept(step.show(stage, narrator))
        except (BrokenPromise, DemoError) as error:
            broken += 1
            narrator.broken(str(error))
        except (psycopg.Error, OSError) as error:
            broken += 1
            narrator.broken(f"unexpected: {type(error).__name__}: {error}")
    narrator.heading("The end of the tour")
    if broken:
        narrator.broken(f"{broken} of {len(_STEPS)} promises were broken; see above")
    else:
        narrator.kept(f"all {len(_STEPS)} promises were kept")
    return not broken


def _reading_works(stage: Stage, narrator: Narrator) -> str:
    narrator.say(f"  {ANALYST} logs in with a password of her own, by SCRAM over TLS, and asks a question.")
    with connected(stage.door) as session:
        started_at = time.monotonic()
        rows = show(narrator, session, _READING)
        took_ms = (time.monotonic() - started_at) * 1000
        who = show(narrator, session, "SELECT current_database(), current_user")
        if len(rows) != 3 or who != [(stage.sample.name, stage.sample.read_only.name)]:
            raise BrokenPromise(f"unexpected answer: {rows} {who}")
        seen = upstream_activity(stage)
    if not any(ANALYST in name for name in seen):
        raise BrokenPromise(f"pg_stat_activity does not show who it is: {seen}")
    narrator.say(f'  Upstream, pg_stat_activity shows her as "{seen[0]}".')
    return f"3 rows in {took_ms:.0f} ms, as a database role whose password {ANALYST} never sees"


def _writing_is_denied(stage: Stage, narrator: Narrator) -> str:
    with connected(stage.door) as session:
        expect_denial(narrator, session, _INSERT, ("25006",))
        if show(narrator, session, "SELECT count(*) AS still_here FROM shop.customers") != [(6000,)]:
            raise BrokenPromise("the number of customers changed")
    return "denied before it left the gateway; the same session reads on"


def _write_in_cte(stage: Stage, narrator: Narrator) -> str:
    with connected(stage.door) as session:
        expect_denial(narrator, session, _HIDDEN_IN_CTE, ("25006",))
    return "the statement begins with WITH and ends with SELECT; PostgreSQL's own grammar sees the DELETE in it"


def _write_in_function(stage: Stage, narrator: Narrator) -> str:
    narrator.say("  This function runs with its owner's rights: the read-only login's missing privileges would not stop it.")
    with connected(stage.door) as session:
        expect_denial(narrator, session, _HIDDEN_IN_FUNCTION, ("25006", "42501"))
    rows = upstream_rows(stage)
    if rows != stage.sample.rows:
        raise BrokenPromise(f"there are {rows:,} rows now, not {stage.sample.rows:,}")
    return f"denied; counted directly upstream: still {rows:,} rows"


def _wrong_password(stage: Stage, narrator: Narrator) -> str:
    answers = []
    for user in ("nobody", ANALYST):
        try:
            connect(stage.door, user=user, password="Tr0ub4dor&3").close()  # noqa: S106
        except psycopg.OperationalError as error:
            narrator.error(str(error).strip())
            answers.append(str(error).replace(user, "..."))
        else:
            raise BrokenPromise(f"{user} was admitted with a wrong password")
    if "password authentication failed" not in answers[0] or answers[0] != answers[1]:
        raise BrokenPromise("refused, but the answer tells who exists")
    return "refused; a person who does not exist gets the same answer"


def _running_query_cancelled(stage: Stage, narrator: Narrator) -> str:
    with connected(stage.door) as session:
        narrator.query(session.info.dbname, ENDLESS)
        outcome = in_background(session, ENDLESS)
        _wait_for_query(stage, running=True)
        narrator.say(
            "  ... and Ctrl-C, a moment later (a cancel request on a connection of its own, with the session's random key):"
        )
        cancelled_at = time.time()
        session.cancel_safe(timeout=_PATIENCE_SECONDS)
        if not outcome.done.wait(_PATIENCE_SECONDS):
            raise BrokenPromise("the query still runs")
        if outcome.error is None or outcome.error.sqlstate != "57014":
            raise BrokenPromise(f"ended otherwise: {outcome.error}")
        narrator.error(describe(outcome.error))
        run(session, "SELECT 1")
        return f"cancelled upstream after {(outcome.ended_at - cancelled_at) * 1000:.0f} ms; the session lives on"


def _address_off_the_list(stage: Stage, narrator: Narrator) -> str:
    narrator.say("  The admin takes this machine off the allowlist:")
    stage.admin.do("allowlist", "delete", ADDRESS)
    try:
        message = _refusal(stage)
    finally:
        narrator.say("  And puts it back:")
        stage.admin.do("allowlist", "create", ADDRESS, "--label", "this machine")
    _wait_until_admitted(stage)
    narrator.say(f"  What {ANALYST} saw meanwhile, with the right password:")
    narrator.error(message)
    return "refused before a byte was answered; once back on the list, she gets in"


def _refusal(stage: Stage) -> str:
    """The error of the first connection that is refused, within the promised time."""
    deadline = time.monotonic() + _PROMISED_SECONDS
    while True:
        try:
            connect(stage.door).close()
        except psycopg.OperationalError as error:
            return str(error).strip()
        if time.monotonic() > deadline:
            raise BrokenPromise("the address is still admitted a second later")
        time.sleep(0.02)


def _wait_until_admitted(stage: Stage) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connect(stage.door).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _revocation(stage: Stage, narrator: Narrator) -> str:
    with connected(stage.door) as session:
        narrator.query(session.info.dbname, ENDLESS)
        outcome = in_background(session, ENDLESS)
        _wait_for_query(stage, running=True)
        narrator.say("  The query runs. Meanwhile, the admin:")
        stage.admin.do("sessions", "list")
        stage.admin.do("grants", "revoke", "--user", ANALYST, "--target", TARGET, "--reason", "left the project")
        if not outcome.done.wait(_PATIENCE_SECONDS):
            raise BrokenPromise("the session still lives")
        if outcome.error is None or outcome.error.sqlstate != "57P01":
            raise BrokenPromise(f"ended otherwise: {outcome.error}")
        narrator.error(describe(outcome.error))
    _wait_for_query(stage, running=False)
    revoked = find_record(read_audit(stage), Evidence("the revocation", "grant.revoked"))
    if revoked is None:
        raise BrokenPromise("the audit does not show the revocation")
    seconds = outcome.ended_at - instant_of(revoked)
    if seconds > _PROMISED_SECONDS:
        raise BrokenPromise(f"the session ended only {seconds:.2f} s after the revocation")
    narrator.say("  Logging in again, with the right password:")
    try:
        connect(stage.door).close()
    except psycopg.OperationalError as error:
        narrator.error(str(error).strip())
    else:
        raise BrokenPromise("a session without a grant was admitted")
    return f"the live session ended {seconds * 1000:.0f} ms after the change was committed, its query upstream too"


def _wait_for_query(stage: Stage, *, running: bool) -> None:
    """Until upstream itself says so."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while bool(upstream_activity(stage, like="%order_items a, shop.order_items b%")) is not running:
        if time.monotonic() > deadline:
            raise BrokenPromise(f"the query {'does not run' if running else 'still runs'} upstream")
        time.sleep(0.05)


def _audit_shows_it(stage: Stage, narrator: Narrator) -> str:
    narrator.command(["pgbastion", "audit", "search", "--json"])
    records = read_audit(stage)
    revoked_under = find_record(records, Evidence("the query that ran on", "statement", sql=ENDLESS))
    wanted = (
        Evidence("the question", "statement", sql=_READING, verdict="allowed"),
        Evidence("the INSERT", "statement", sql=_INSERT, verdict="denied"),
        Evidence("the DELETE in a CTE", "statement", sql=_HIDDEN_IN_CTE, verdict="denied"),
        Evidence("the writing function", "statement", sql=_HIDDEN_IN_FUNCTION, verdict="denied"),
        Evidence("the wrong password", "login_failed"),
        Evidence("the refused address", "connection_refused"),
        Evidence("the cancel", "cancel"),
        Evidence("the revocation", "grant.revoked"),
        Evidence("that session's end", "session_end", session=revoked_under.session if revoked_under else "none"),
    )
    found = [(evidence, find_record(records, evidence)) for evidence in wanted]
    narrator.rows(
        ["what happened", "at", "event", "who", "verdict or rule"],
        [
            (evidence.what, record.time, record.event, record.who, record.remark)
            for evidence, record in found
            if record is not None
        ],
    )
    missing = [evidence.what for evidence, record in found if record is None]
    if missing:
        raise BrokenPromise(f"not in the audit: {', '.join(missing)}")
    return f"each of these is in the audit, which holds {len(records)} records by now"


def _no_secret_was_seen(stage: Stage, narrator: Narrator) -> str:
    secrets = stage.secrets()
    if any(secret in narrator.printed for secret in secrets):
        raise BrokenPromise("an upstream password was printed above")
    files = [
        path for path in stage.directory.rglob("*") if path.is_file() and not path.is_relative_to(stage.directory / "postgres")
    ]
    for path in files:
        content = path.read_bytes()
        if any(secret.encode() in content for secret in secrets):
            raise BrokenPromise(f"an upstream password stands in {path}")
    narrator.say(
        f"  Looked for {len(secrets)} upstream passwords in all that was printed, and in {len(files)} files of the gateway."
    )
    return "no upstream password anywhere"


_STEPS: Final = (
    Step("Reading works", _reading_works),
    Step("A write is denied, and the session goes on", _writing_is_denied),
    Step("A write hidden in a CTE is denied", _write_in_cte),
    Step("A write hidden in a function is denied", _write_in_function),
    Step("A wrong password is refused", _wrong_password),
    Step("A running query is cancelled", _running_query_cancelled),
    Step("An address off the list is refused", _address_off_the_list),
    Step("Revoking a grant ends the live session", _revocation),
    Step("The audit shows each of these", _audit_shows_it),
    Step("No upstream secret was seen", _no_secret_was_seen),
)
