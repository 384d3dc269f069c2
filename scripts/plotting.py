"""The style of all figures: panels to plot on, and figures as files to embed in a page."""

import base64
import io

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = """<style>
svg { color: #1c1c1e; fill: currentColor }
@media screen and (prefers-color-scheme: dark) { svg { color: #ececea } }
</style>"""


def panels(number: int, per_row: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure with so many empty panels, at most `per_row` side by side."""
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
    """The figure as SVG without a background, dark on a light page and light on a dark one. Closes the figure."""
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    head, _, body = drawing.getvalue().replace("#000000", "currentColor").partition("<defs>")
    return f"{head}{STYLE}<defs>{body}".encode()


def png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG on white. Closes the figure."""
    drawing = io.BytesIO()
    figure.savefig(drawing, format="png", dpi=dpi)
    plt.close(figure)
    return drawing.getvalue()


def data_uri(name: str, content: bytes) -> str:
    """A picture as a `data:` URI; the suffix of its name, .svg, .png or .gif, gives its type."""
    kind = name.rpartition(".")[2].replace("svg", "svg+xml")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
