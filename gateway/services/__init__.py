"""Operator verbs, one function each: what an admin can do, whichever way they came (command, API or file).

Each takes the actor and the reason, checks the rules, and commits the rows with their audit event (change.py). The result is a
value, as stored; a broken rule is a ServiceError and changes nothing. `expected_version`, where a verb changes a row that is
there, says which version of it the admin looked at: with another one in place, nothing is changed. Live sessions end by
themselves: the gateway authorizes them again on every revision.
"""
