"""The contestants: each proxy started as a process of ours on a free loopback port, stopped and swept up afterwards.

A `Ground` is what all of them stand on (the database, its two logins, certificates); an `Entry` (lineup.py) knows how to start one
and which program it needs; a `Contestant` is one that runs.
"""
