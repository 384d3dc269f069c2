"""Plots for pages: empty panels to draw on, and what is drawn as files that a page can hold within itself."""

import base64
import io

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLACK = "#000000"
"""As matplotlib writes the colour of axes and ticks; that of text is left out."""
INK = """<style>
svg { color: #1c1c1e; fill: currentColor }
@media screen and (prefers-color-scheme: dark) { svg { color: #ececea } }
</style>"""


def panels(number: int, per_row: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of empty panels side by side, or so many in a row; close it when it is drawn."""
    columns = min(number, per_row or number)
    rows = -(-number // columns)
    size = (4.5 * columns, 3.2 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    axes = list(grid.flat)
    for axis in axes[:number]:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[number:]:
        axis.set_axis_off()
    return figure, axes[:number]


def svg(figure: Figure) -> bytes:
    """The figure, which is closed, without a background; text and axes are dark on a light page and light on a dark."""
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    head, _, body = drawing.getvalue().replace(BLACK, "currentColor").partition("<defs>")
    return f"{head}{INK}<defs>{body}".encode()


def png(figure: Figure, dpi: int) -> bytes:
    """The figure, which is closed, on white."""
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png", dpi=dpi)
    plt.close(figure)
    return drawing.getvalue()


def address(name: str, content: bytes) -> str:
    """A picture as a `data:` address; the end of its name says what it is: .svg, .png or .gif."""
    kind = name.rpartition(".")[2].replace("svg", "svg+xml")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
