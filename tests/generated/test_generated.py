"""Generated statements through the real gateway: honest ones pass, and attacks change nothing, even by a superuser's hand.

A few thousand of each; PGBASTION_GENERATED=100000 makes it so many (`make generated`). PGBASTION_GENERATED_SEED=... makes the same
ones again; without it a large run draws a seed of its own. Tables are written where the oracle writes its own.
"""

import os
import secrets

import pytest

from tests.generated.trial import Figures, trial
from tests.oracle import report
from tests.oracle.conftest import Worlds, servers
from tests.oracle.entries import Entry, Setting, business_entries, object_entries, study_entries, study_folder

_FEW = 2000
COUNT = int(os.environ.get("PGBASTION_GENERATED", _FEW))
SEED = os.environ.get("PGBASTION_GENERATED_SEED") or ("1" if COUNT <= _FEW else secrets.token_hex(4))
_SHARES = {"business": 3, "objects": 1}
_LEAST_VALID = 0.65  # 15 knows less of the grammar


def cases(*, study: bool) -> list[tuple[str, str, int]]:
    """(server, template, how many)."""
    shares = {**_SHARES, **({"study": 2} if study and study_folder() else {})}
    return [
        (server, template, COUNT * share // sum(shares.values()) // len(servers()))
        for server in servers()
        for template, share in shares.items()
    ]


def entries_of(template: str) -> list[Entry]:
    folder = study_folder()
    if template == "study" and folder is not None:
        return study_entries(folder)
    return object_entries() if template == "objects" else business_entries()


@pytest.mark.parametrize(("server", "template", "count"), cases(study=False))
def test_honest_statements_pass(worlds: Worlds, server: str, template: str, count: int) -> None:
    with trial(worlds(server, template), template) as made:
        figures = made.honest(SEED, count)
    _tell("honest", server, template, figures)
    assert figures.valid >= _LEAST_VALID * figures.scripts, "most of what is generated must make sense"


@pytest.mark.parametrize(("server", "template", "count"), cases(study=True))
def test_attacks_change_nothing(worlds: Worlds, server: str, template: str, count: int) -> None:
    with trial(worlds(server, template), template) as made:
        figures = made.attacks(SEED, count, entries_of(template))
    _tell("attacks", server, template, figures)
    assert figures.refused >= figures.scripts / 2, "most of what is generated must be harmful"


def test_a_hole_shows(worlds: Worlds) -> None:
    """An admin who lists all functions of a schema opens it; the attacks find that, and make it small."""
    world = worlds(servers()[0], "business")
    with trial(world, "business", Setting(lists=("public.*",))) as made:
        figures = made.attacks("hole", 60, entries_of("business"))
    print(figures, *figures.findings, sep="\n\n")
    assert figures.findings
    assert any("public.audit" in found or "audit" in found for found in figures.findings), figures.findings
    assert all(len(found.split("\n", 1)[1]) < 1500 for found in figures.findings), figures.findings


def _tell(kind: str, server: str, template: str, figures: Figures) -> None:
    print(figures)
    report.write(f"table-generated-{kind}-{server}-{template}", str(figures))
    report.write(f"ran-{kind}-{server}-{template}", "\n\n".join(figures.examples))
    assert not figures.findings, "\n\n" + "\n\n".join(figures.findings)
