"""pgbastion: a read-only PostgreSQL access gateway. See docs/architecture.md for the map of this package."""

import gc

__version__ = "0.1.0"

# At Python's own 700, the cycle collector takes a fifth of the time in which a process loads its modules. Workers choose their
# own once they are there (`proxy.collecting`).
gc.set_threshold(50_000)
