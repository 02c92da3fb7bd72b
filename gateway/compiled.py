"""Whether the compiled twins of the hottest modules are in use. Pure Python is complete, and what the twins are tested against.

A twin is an extension module beside its pure one (`framing_c` beside `framing`), built where a C compiler is at hand when the
gateway is installed. `PGBASTION_PURE=1` leaves them alone.
"""

import importlib
import os
from types import ModuleType
from typing import Final

_PURE: Final = "PGBASTION_PURE"


def twin_of(module: str) -> ModuleType | None:
    """The compiled twin of this module (its `__name__`); None: there is none, or it is not wanted."""
    if os.environ.get(_PURE, "") not in ("", "0"):
        return None
    try:
        return importlib.import_module(f"{module}_c")
    except ImportError:
        return None
