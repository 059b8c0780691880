"""The one error a user is meant to read."""


class SeeWhyError(Exception):
    """Something the user can mend: says what is wrong, where (file, row, class) and what to do about it."""
