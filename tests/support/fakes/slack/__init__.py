"""A workspace of Slack on loopback: the Web API's methods that we use, Socket Mode, signed HTTP, response_url, and people.

`server.FakeSlack` is all of it. `state` is what there is, `methods` what a bot may ask for, `kit` what Block Kit takes, `acting`
what people do, `signing` how Slack signs. Whatever speaks to it does so through the vendor's own client library.
"""
