"""Moved to gateway.log_setup, for every process."""

from gateway.log_setup import set_up_logging

__all__ = ["set_up_logging"]
