"""Pieces of the page as HTML. Pictures are part of it, as `data:` addresses, so that there is no file to serve."""

import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from scripts.plotting import data_uri


def note(text: str) -> str:
    """A sentence where something else was asked for."""
    return f'<p class="note" role="status">{escape(text)}</p>'


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def image(content: bytes, describing: str, css_class: str = "") -> str:
    """A PNG."""
    return f'<img class="{css_class}" alt="{escape(describing)}" src="{data_uri("picture.png", content)}">'


def download(content: bytes, file_name: str, text: str) -> str:
    """A link that saves a PNG."""
    href = data_uri("picture.png", content)
    return f'<a class="download" download="{escape(file_name)}" href="{href}">{escape(text)}</a>'


def bars(probabilities: Sequence[float]) -> str:
    """How sure of each digit, from 0 to 1, the surest one set off."""
    surest = max(range(len(probabilities)), key=probabilities.__getitem__)
    rows = (
        f'<div class="bar{" surest" * (digit == surest)}"><b>{digit}</b><i><u style="width:{probability:.1%}"></u></i>'
        f"<span>{probability:.0%}</span></div>"
        for digit, probability in enumerate(probabilities)
    )
    return f'<div class="bars">{"".join(rows)}</div>'


def digits(said: str, right: str, css_class: str = "digits") -> str:
    """A text of digits; those that differ from the right ones are marked and say which it was."""
    marked = (
        escape(one) if one == other else f'<mark title="it was {escape(other)}">{escape(one)}</mark>'
        for one, other in zip(said, right, strict=True)
    )
    return f'<code class="{css_class}">{"".join(marked)}</code>'
