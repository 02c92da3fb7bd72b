"""Upstream secrets that are kept elsewhere: fetched when they are needed, remembered for a moment, and never in an error's text.

`fetching` is the door: what may be fetched, in how much time, once for all who ask. `provider` says what each keeper of secrets
implements; `keepers` makes them. They block, and run in threads of their own.
"""
