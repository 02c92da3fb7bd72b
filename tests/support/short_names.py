"""Settings under which short names and passwords are taken: for tests that are about something else."""

from typing import Any, Final

from gateway.access.user_rules import ANY_RULES

SHORT_NAMES: Final[dict[str, Any]] = {
    "name_min": ANY_RULES.name_min,
    "name_max": ANY_RULES.name_max,
    "name_characters": ANY_RULES.name_characters,
    "password_min": ANY_RULES.password_min,
    "password_max": ANY_RULES.password_max,
    "password_forbidden": "",
}
SHORT_NAMES_TOML: Final = "[users]\n" + "".join(
    f"{name} = {value if isinstance(value, int) else repr(value)}\n" for name, value in SHORT_NAMES.items()
)
