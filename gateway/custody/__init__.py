"""Upstream credentials: where they are kept, and how they change. What asks a server, asks it from here."""
