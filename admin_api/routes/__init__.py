"""One module per resource: HTTP on one side, one verb of `gateway.services` on the other."""
