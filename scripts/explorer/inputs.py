"""What a field of the page may hold. Anybody can speak to the server without the page, so anything may come."""

from collections.abc import Iterable

from twofold.errors import UsageError

MOST_DIGITS = 20
"""Of a number; more would be refused anyway, and a long text takes long to become a number."""


def whole_number(value: object, name: str, lowest: int, highest: int) -> int:
    """A whole number, as a number or as text.

    Raises:
        UsageError: when it is anything else, or not from `lowest` to `highest`.
    """
    number = None
    match value:
        case bool():
            pass
        case int():
            number = value
        case float() if value.is_integer():
            number = int(value)
        case str() if value.strip().isdecimal() and value.isascii() and len(value) <= MOST_DIGITS:
            number = int(value)
    if number is None or not lowest <= number <= highest:
        raise UsageError(f"{name}: write a whole number from {lowest:,} to {highest:,}")
    return number


def share(value: object, name: str) -> float:
    """A number from 0 to 1.

    Raises:
        UsageError: when it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(f"{name}: write a number from 0 to 1")
    return float(value)


def one_of(value: object, name: str, known: Iterable[str]) -> str:
    """One of the known words.

    Raises:
        UsageError: when it is anything else.
    """
    if not isinstance(value, str) or value not in known:
        raise UsageError(f"{name}: choose one of {', '.join(known)}")
    return value


def text(value: object, name: str, longest: int) -> str:
    """A text of at most so many characters, without the blanks around it.

    Raises:
        UsageError: when it is anything else.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name}: write text")
    if len(value := value.strip()) > longest:
        raise UsageError(f"{name}: {len(value):,} characters are too many; write {longest:,} or fewer")
    return value
