"""Signing in through an OpenID Connect provider: this API is the relying party, with the authorization code flow and PKCE.

`http` talks to the provider, `provider` knows what to ask it, `id_token` believes nothing that it has not verified, `flow`
remembers a sign-in that is under way (sealed, with whoever began it), `watch` asks again whether the provider still vouches.
"""
