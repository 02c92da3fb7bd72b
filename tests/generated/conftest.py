"""The worlds of the oracle."""

from tests.oracle.conftest import worlds

__all__ = ["worlds"]
