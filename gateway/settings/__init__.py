"""Typed settings: a TOML file, `PGBASTION_<SECTION>__<NAME>` variables over it, flags over both.

`model` says what can be set, `loading` reads it and names what is wrong with it, `current` holds what is in force in a process.
"""

from gateway.settings.current import Changes, CurrentSettings
from gateway.settings.loading import SettingsError, find_config, load
from gateway.settings.model import (
    AdminApi,
    Audit,
    Credentials,
    Limits,
    Listen,
    Policy,
    Public,
    Settings,
    StatementCaps,
    Store,
    Throttle,
    Tls,
)

__all__ = [
    "AdminApi",
    "Audit",
    "Changes",
    "Credentials",
    "CurrentSettings",
    "Limits",
    "Listen",
    "Policy",
    "Public",
    "Settings",
    "SettingsError",
    "StatementCaps",
    "Store",
    "Throttle",
    "Tls",
    "find_config",
    "load",
]
