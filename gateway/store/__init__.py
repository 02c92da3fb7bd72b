"""Adapters to the store: one schema, SQLite. The only package that imports a database driver.

`directory` reads (gateway workers), `unit_of_work` changes (services), `vault` seals upstream secrets, `migrate` brings a file
up to date, `events` reads the admin events back.
"""
