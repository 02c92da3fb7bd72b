"""What is counted of catalogs."""


class CatalogTally:
    """`seconds`: of the last one that was read, from asking to having it."""

    __slots__ = ("failures", "loads", "seconds")

    def __init__(self) -> None:
        self.loads = 0
        self.failures = 0
        self.seconds = 0.0

    def loaded(self, seconds: float) -> None:
        self.loads += 1
        self.seconds = seconds

    def failed(self) -> None:
        self.failures += 1
