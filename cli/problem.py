"""What stops a command: one clear line for people. Not an error of the services; those live in chassis/errors.py."""


class Problem(Exception):
    """The command can not do what was asked. Each line says what is wrong and what to do; `exit_code` 2 means usage."""

    def __init__(self, *lines: str, exit_code: int = 1) -> None:
        self.lines = lines
        self.exit_code = exit_code
        super().__init__("\n".join(lines))
