"""Slack: people ask for access, decide about it and give it back where they talk.

`text`, `facts`, `announcements`, `personal`, `modal` and `form` are pure: what a request looks like there, and what somebody
filled in. `people` says which account a member of the workspace is, and takes nobody's word for it but Slack's own. `desk` hears
what people do and calls the very services that commands and the API call; `app` wires it to Bolt, `socket` brings it in over a
WebSocket of our own making, the admin API over signed HTTP. `deliverer` brings out what the outbox holds.

Only this package, and the route that Slack's requests come by, know the vendor's libraries.
"""
