"""The HTTP adapter over `gateway.services`. Empty until the control plane gets its API; the CLI serves admins today."""
