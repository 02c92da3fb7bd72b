"""What ends a command with a sentence instead of a traceback."""


class CommandError(Exception):
    """`message` says what is wrong, `hint` what to do, `rule` (if there is one) which rule was broken. Exit status 1."""

    def __init__(self, message: str, hint: str = "", rule: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.rule = rule
