"""Thousands of generated scripts against one database, and what comes of them. Findings are made small, and have their seed."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from gateway.access_mode import AccessMode
from gateway.statements.policy import Policy
from tests.generated.attacks import Attacks
from tests.generated.grammar import Grammar, grammar
from tests.generated.payloads import payloads_of
from tests.generated.pieces import smaller
from tests.generated.play import Outcome, Session, differing, direct, through_the_gateway
from tests.generated.scripts import Script, honest_script
from tests.oracle.entries import PLAIN, Entry, Setting
from tests.oracle.world import Copy, World
from tests.policy.catalogs import load_catalog

_BATCH = 250
_MOST_FINDINGS = 10
_MOST_TRIES = 200
_READER = "GRANT USAGE ON SCHEMA public TO analyst; GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst"


@dataclass
class Figures:
    """`valid`: scripts that ran whole, `refused` by a rule, `stopped` by the server, `examples`: attacks that ran for nothing."""

    title: str
    scripts: int = 0
    valid: int = 0
    refused: int = 0
    stopped: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def note(self, outcome: Outcome) -> None:
        self.scripts += 1
        self.valid += outcome.ran
        self.refused += bool(outcome.refused)
        self.stopped += not outcome.ran and not outcome.refused
        self.rules.update(set(outcome.refused))

    def __str__(self) -> str:
        rules = ", ".join(f"{rule} {count}" for rule, count in self.rules.most_common())
        counts = f"{self.scripts} scripts: {self.valid} ran, {self.refused} refused, {self.stopped} stopped by the server"
        return f"{self.title}: {counts}, {len(self.findings)} findings\n  {rules}\n"


@dataclass
class Trial:
    """One database of a world, for as long as it is as it was."""

    world: World
    template: str
    setting: Setting
    copy: Copy
    session: Session
    reader: Session
    mighty: Session
    grammar: Grammar

    @property
    def major(self) -> int:
        return self.copy.cluster.major

    def honest(self, seed: str, count: int) -> Figures:
        """Whatever works directly, for an ordinary role in a READ ONLY session, has to work; nothing may change."""
        figures = Figures(f"honest, {self.template}, PostgreSQL {self.major}, seed {seed}")
        before = self.copy.watch.state()
        for start in range(0, count, _BATCH):
            cases = [f"{seed} {number}" for number in range(start, min(start + _BATCH, count))]
            scripts = [honest_script(case, self.grammar, self.major) for case in cases]
            for case, script, outcome in zip(cases, scripts, self.session.play(scripts), strict=True):
                figures.note(outcome)
                if not (outcome.ran or outcome.timed_out) and self._wrongly_stopped(script):
                    small = shrunk(script, self._wrongly_stopped)
                    figures.findings.append(f"seed {case!r}: {_why(outcome)}\n{_shown(small)}")
            after = self.copy.watch.state()
            if changed := [*differing(before, after), *self.session.changed_settings()]:
                figures.findings.append(f"seed {cases[0]!r} to {cases[-1]!r}: honest, but changed {changed}")
                before = self.copy.watch.state()
            if len(figures.findings) >= _MOST_FINDINGS:
                break
        return figures

    def _wrongly_stopped(self, script: Script) -> bool:
        """(What only the server's own error stops is none of ours when the role, which sees more rows, meets it directly, too.)"""
        if not self.reader.play([script])[0].ran:
            return False
        (outcome,) = self.session.play([script])
        if outcome.ran or outcome.timed_out:
            return False
        return bool(outcome.refused) or self.mighty.play([script])[0].ran

    def attacks(self, seed: str, count: int, entries: Sequence[Entry]) -> Figures:
        """Nothing may change, no secret may come out."""
        figures = Figures(f"attacks, {self.template}, PostgreSQL {self.major}, seed {seed}")
        made = self._attacks(entries)
        before = self.copy.watch.state()
        for start in range(0, count, _BATCH):
            cases = [f"{seed} {number}" for number in range(start, min(start + _BATCH, count))]
            scripts = [made.script(case) for case in cases]
            outcomes = self.session.play(scripts)
            for outcome, script in zip(outcomes, scripts, strict=True):
                figures.note(outcome)
                if outcome.ran:
                    figures.examples.append(_shown(script))
            after = self.copy.watch.state()
            changed = [*differing(before, after), *self.session.changed_settings()]
            before = after
            if changed or any(outcome.leaks or outcome.lost for outcome in outcomes):
                figures.findings += self._culprits(cases, scripts, outcomes, changed)
                before = self.copy.watch.state()
            if len(figures.findings) >= _MOST_FINDINGS:
                break
        return figures

    def _attacks(self, entries: Sequence[Entry]) -> Attacks:
        with self.copy.cluster.upstream.connect(self.copy.name) as connection:
            policy = Policy(AccessMode.READ_ONLY, server_major=self.major, catalog=load_catalog(connection))
        there = [entry for entry in entries if entry.runs_on(self.major, self.copy.cluster.templates[self.template])]
        return Attacks(self.grammar, self.major, payloads_of(there, policy), self.copy.name)

    def _culprits(
        self, cases: Sequence[str], scripts: Sequence[Script], outcomes: Sequence[Outcome], changed: Sequence[str]
    ) -> list[str]:
        """Each of a batch by itself, in a fresh copy: first those of which something reached the server."""
        told = []
        with trial(self.world, self.template, self.setting) as other:
            every = list(zip(cases, scripts, outcomes, strict=True))
            passed = [each for each in every if not each[2].refused or each[2].leaks or each[2].lost]
            for group in (passed, [each for each in every if each not in passed]):
                for case, script, _ in group:
                    if what := other.effects(script):
                        small = shrunk(script, lambda tried: bool(other.effects(tried)))
                        told.append(f"seed {case!r}: {what}\n{_shown(small)}")
                if told:
                    return told
        return [f"seed {cases[0]!r} to {cases[-1]!r} together: {list(changed)}"]

    def effects(self, script: Script) -> list[str]:
        """What the script alone changes or shows."""
        before = self.copy.watch.state()
        (outcome,) = self.session.play([script])
        changed = differing(before, self.copy.watch.state())
        return [*changed, *self.session.changed_settings(), *outcome.leaks, *["the session was lost"] * outcome.lost]


def shrunk(script: Script, still: Callable[[Script], bool]) -> Script:
    """The smallest script found that is `still` a finding."""
    tries = 0
    while tries < _MOST_TRIES:
        for smaller_one in _smaller(script):
            tries += 1
            if still(smaller_one):
                script = smaller_one
                break
            if tries >= _MOST_TRIES:
                return script
        else:
            return script
    return script


def _smaller(script: Script) -> Iterator[Script]:
    if len(script) > 1:
        for place in range(len(script)):
            yield (*script[:place], *script[place + 1 :])
    if any(text.spelling for text in script):
        yield tuple(replace(text, spelling="") for text in script)
    for place, text in enumerate(script):
        for piece in smaller(text.piece):
            yield (*script[:place], replace(text, piece=piece, spelling=""), *script[place + 1 :])


def _shown(script: Script) -> str:
    return "\n".join(f"  {text}" + (f"  -- with {text.values}" if text.values is not None else "") for text in script)


def _why(outcome: Outcome) -> str:
    return "; ".join((*outcome.refused, *outcome.errors, *["the session was lost"] * outcome.lost))


@contextlib.contextmanager
def trial(world: World, template: str, setting: Setting = PLAIN) -> Iterator[Trial]:
    """In a copy of its own."""
    with world.copy(template, setting) as copy:
        copy.cluster.run(copy.name, _READER)
        row = copy.watch.asking.execute("SELECT setting FROM pg_config WHERE name = 'CONFIGURE'").fetchone()
        known = grammar(template, copy.cluster.major, xml="libxml" in (row[0] if row else ""))
        session, reader, mighty = through_the_gateway(copy), direct(copy, mighty=False), direct(copy, mighty=True)
        try:
            yield Trial(world, template, setting, copy, session, reader, mighty, known)
        finally:
            for each in (session, reader, mighty):
                each.close()
