"""The systemd units: systemd itself reads them, and finds them well shut in."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "configs").glob("*.service"))
WORST_EXPOSURE = 2.0  # of 10; most services of a distribution are above 9

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_are_units() -> None:
    assert [path.name for path in UNITS if path.name == "pgbastion.service"]


def test_what_every_unit_must_say(unit: Path) -> None:
    """A reader's check, also where there is no systemd."""
    text = unit.read_text()
    for line in (
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "UMask=0077",
        "LimitCORE=0",
        "MemoryDenyWriteExecute=yes",
        "SystemCallArchitectures=native",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ):
        assert line in text.splitlines(), line
    assert re.search(r"^User=(?!root)\w+$", text, re.MULTILINE) or "DynamicUser=yes" in text
    assert not re.search(r"(?i)password|token=|secret=", "\n".join(line for line in text.splitlines() if "=" in line))


@needs_systemd
def test_systemd_reads_it(unit: Path, tmp_path: Path) -> None:
    """With another unit of ours in reach, and the program that is not installed here replaced by one that is."""
    for each in UNITS:
        (tmp_path / each.name).write_text(re.sub(r"/opt/pgbastion/bin/\S+", "/bin/true", each.read_text()))
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "pgbastion" in line]
    assert not ours, done.stderr


@needs_systemd
def test_its_exposure_is_low(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={WORST_EXPOSURE * 10:.0f}", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
