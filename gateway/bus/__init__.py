"""The bus between the processes of one gateway. Nothing that must not be lost goes over it.

It carries wake-ups, cancels, questions and shared limits. `lines` is the wire format, `hub` lives in the supervisor and routes,
`peer` is a process's connection (and a command's brief one).
"""
