"""The one family of errors that a person is meant to read."""


class Fault(Exception):
    """Something could not be done: what was wrong, where, and what to do about it.

    ``str(fault)`` is one line. The command line prints it with ``hint`` beneath and ends with ``exit_code``
    (1: the answer is no; 2: it could not be done).
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.what = what
        self.where = where
        self.hint = hint
