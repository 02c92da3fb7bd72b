"""What a verb raises when it refuses."""


class ServiceError(Exception):
    """`rule` is a stable kebab-case id, `message` says what is wrong, `hint` what to do next."""

    def __init__(self, rule: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.hint = hint
