"""One client's session, sans-IO: bytes and instants in, bytes and effects out.

`machine.Session` owns the phases; `login` proves who the client is, `upstream_login` logs in to PostgreSQL, `client_side` and
`upstream_side` relay, sharing one `conversation`. `ledger` knows which reply is due, `names` which text a prepared name stands
for, `verdicts` what the policy said, `denial` how a blocked message is replaced so that PostgreSQL itself keeps the order.
"""
