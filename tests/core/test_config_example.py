"""configs/pgbastion.toml is complete, loads, and says what the defaults are."""

import re
import tomllib
from pathlib import Path

from pydantic import BaseModel

from gateway.settings import Settings, load

EXAMPLE = Path(__file__).parents[2] / "configs" / "pgbastion.toml"


def field_names(model: type[BaseModel], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names |= field_names(kind, f"{name}.")
        else:
            names.add(prefix + name)
    return names


def with_commented_settings_switched_on(text: str) -> str:
    return re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)


def flat(table: dict[str, object], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, value in table.items():
        names |= flat(value, f"{name}.") if isinstance(value, dict) else {prefix + name}
    return names


def test_the_example_states_the_defaults() -> None:
    loaded = load(EXAMPLE)
    assert loaded.model_dump() == Settings(state_dir=Path("/var/lib/pgbastion")).model_dump()


def test_the_example_names_every_setting_and_no_other() -> None:
    everything = with_commented_settings_switched_on(EXAMPLE.read_text())
    assert flat(tomllib.loads(everything)) == field_names(Settings)


def test_the_commented_settings_load_too(tmp_path: Path) -> None:
    complete = tmp_path / "pgbastion.toml"
    complete.write_text(with_commented_settings_switched_on(EXAMPLE.read_text()))
    loaded = load(complete)
    assert loaded.tls.cert_file == Path("/etc/pgbastion/server.pem")
    assert loaded.audit_dir == Path("/var/log/pgbastion")
