"""What a connection to the store is for."""

from enum import Enum, auto


class Access(Enum):
    """READ: one consistent view, and nothing can be changed. WRITE: one at a time, on either database."""

    READ = auto()
    WRITE = auto()
