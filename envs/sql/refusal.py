"""The guard's verdicts that say no."""


class Refused(Exception):
    """A statement that is not run. The words are for the agent: what is not allowed, and what is."""


class UnknownTable(Refused):
    """A table that the database does not have, as far as the agent may know."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name = name


class Unparsable(Refused):
    """Not SQL in this dialect; it may be in another."""
