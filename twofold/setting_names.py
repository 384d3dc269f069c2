"""Settings of a config by their names, and the names as people type them."""

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(prefix: str, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings by their whole names, such as `data.init_args.batch_size`, each behind the prefix."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def typed(key: str) -> str:
    """The setting as people type it; a callback's, which has no option, as it is."""
    return key if key[0].isupper() else "--" + key.replace(".init_args", "")
