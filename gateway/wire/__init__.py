"""PostgreSQL's frontend/backend protocol 3.0 and 3.2, as bytes and values.

Primitives: `framing` cuts streams into messages and limits their size, `startup` reads what comes before a login, `frontend`
and `backend` read and build the messages of either direction, `scram` is both ends of SCRAM-SHA-256(-PLUS). Nothing here does
I/O, asks the time or draws a random number. Broken input raises `errors.WireError`.
"""
