"""The errors a user is meant to read."""

from seewhy.words import shown


class SeeWhyError(Exception):
    """Something the user can mend: says what is wrong, where (file, row, class) and what to do about it."""

    def __str__(self) -> str:
        return shown(super().__str__())


class Damaged(SeeWhyError):
    """A file of a run is not as it was written. What is made without it would be another thing."""
