"""The admin API: an HTTP adapter over `gateway.services`, in a process of its own (`python -m admin_api`).

`app.create_app` makes the application from an `AdminContext`; the commands use the very same one in process.
A request's way: `answers` (security headers, the last resort for what was not foreseen), `admission` (address, token, scope),
`bodies` (how large, how slow, which kind), then a function in `routes`, which calls one verb and shows the object as it is then.
Nothing here decides who may reach which database, and nothing here is in the way of a statement.
"""
