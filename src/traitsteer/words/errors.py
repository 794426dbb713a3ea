"""The one exception that a user meets: a plain sentence and a non-zero exit."""


class TraitsteerError(Exception):
    """Something the user can mend.

    The message is one sentence: what was found, what was expected, what to do.
    """


class TooFewRows(TraitsteerError):
    """A vector cannot be fitted to these rows alone; to more of them it might."""
