"""What people and programs elsewhere are told, and what they are asked: the outbox, delivered by a process of its own.

`courier` takes what is due and sees it through; `channels` knows who delivers to which destination: `webhooks`, `mail`, `slack`,
`on_call` (a question to PagerDuty) and `people` (whichever of these reaches a person). A deliverer is given a message and says
what became of it (`delivering`); it never changes the outbox. Nothing that decides about access waits for any of it.
"""
