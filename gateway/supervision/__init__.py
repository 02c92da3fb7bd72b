"""What stands over the processes of one gateway: it prepares what they share, starts them, replaces them, and ends them.

`preparation` makes keys, schema and certificate; `child` is one process and its lifeline; `post` keeps one child at work, through
crashes and rolling restarts; `headcount` counts for all workers; `supervisor` puts it together; `service_manager` is systemd's.
"""
