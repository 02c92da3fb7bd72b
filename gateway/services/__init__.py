"""Operator verbs, one function each: what an admin can do, whichever way they came (CLI now; API, console and chat later).

Each takes the actor and the reason, checks the rules, and commits the rows with one audit event. The result is a value; a
broken rule is a ServiceError and changes nothing. Live sessions end by themselves: the gateway authorizes them again on every
revision.
"""
