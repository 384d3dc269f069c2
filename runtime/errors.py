"""What may go wrong, in words, and what the process then says and returns."""


class UsageError(Exception):
    """Something in what the user wrote: exit code 2. Its message is one line: what was wrong, what to write instead."""


def one_line(error: BaseException) -> str:
    """An error's message without its line breaks; its type where there is no message."""
    return " ".join(str(error).split()) or type(error).__name__
