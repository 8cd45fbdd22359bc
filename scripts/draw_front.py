"""Draw ``docs/images/demo.svg``: loss against latency of the versions on two cards of the demo, which were measured.

    python scripts/draw_front.py

Latency is a share of PyTorch's own in the same rounds, so that several cards of one machine can stand in one picture.
Bars are 95 % intervals. Whoever renews the cards under ``examples/cards`` draws it again.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CARDS, PICTURE = ROOT / "examples/cards", ROOT / "docs/images/demo.svg"
FIVE = "['layernorm', 'gelu', 'residual', 'gather', 'softmax']"
POINTS = (
    ("demo.md", "[]", "static int8 of everything, as in 2022", (7, 5)),
    ("demo.md", FIVE, "static int8, five kinds of node in float", (7, 8)),
    ("tune.md", "'openvino-nncf-float32'", "int8 that quantbench tune found", (-12, 34)),
    ("tune.md", "'openvino-bfloat16'", "bfloat16", (-12, -18)),
)
METRIC = "f1"
NUMBER = re.compile(r"([+-]?[\d.]+) \(([+-]?[\d.]+) to ([+-]?[\d.]+)\)")


class Estimate(NamedTuple):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def main() -> None:
    """Draw the picture."""
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = "quantbench"  # equal pictures are equal files
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    nothing = Estimate(0.0, 0.0, 0.0)
    tuned, name, _, _ = POINTS[-1]
    _draw(axes, Estimate(100.0, 100.0, 100.0), nothing, "PyTorch", (-18, 8), "black")
    _draw(axes, share(CARDS / tuned, name, "onnx-float"), nothing, "ONNX Runtime, float32", (-12, -18), "grey")
    for number, (card, row, label, offset) in enumerate(POINTS):
        _draw(axes, share(CARDS / card, row, "optimized"), loss(CARDS / card, row), label, offset, f"C{number}")
    axes.set_xlabel("latency of 4 sentences of 64 tokens, % of PyTorch's")
    axes.set_ylabel(f"{METRIC.upper()} lost")
    axes.set_xlim(0, 112)
    axes.set_ylim(-0.09, 0.72)
    axes.grid(alpha=0.3)
    figure.savefig(PICTURE, format="svg", metadata={"Date": None}, facecolor="white")


def share(card: Path, row: str, arm: str) -> Estimate:
    """The arm's latency in percent of PyTorch's."""
    (cells,) = [cells for cells in _rows(card, f"{arm} over pytorch") if cells[0] == row]
    ratio, low, high = _numbers(cells[f"{arm} over pytorch"])
    return Estimate(100 / ratio, 100 / high, 100 / low)


def loss(card: Path, row: str) -> Estimate:
    """What was lost of the metric."""
    column = "optimized − original"
    (cells,) = [cells for cells in _rows(card, column) if (cells[0], cells["metric"]) == (row, METRIC)]
    value, low, high = _numbers(cells[column])
    return Estimate(-value, -high, -low)


def _numbers(cell: str) -> tuple[float, ...]:
    found = NUMBER.match(cell)
    assert found, cell
    return tuple(map(float, found.groups()))


def _rows(card: Path, column: str) -> list[dict[Any, str]]:
    """Rows of the first table that has this column, by the names of their columns; the first also by 0."""
    lines = [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in card.read_text().splitlines()
    ]
    start = next(number for number, cells in enumerate(lines) if column in cells)
    found: list[dict[Any, str]] = []
    for cells in lines[start + 2 :]:
        if len(cells) != len(lines[start]):
            break
        found.append({0: cells[0], **dict(zip(lines[start], cells, strict=True))})
    return found


def _draw(axes: Any, latency: Estimate, lost: Estimate, label: str, offset: tuple[int, int], color: str) -> None:
    """A point with its intervals and its name, which stands that many typographic points away."""
    axes.errorbar(
        latency.value,
        lost.value,
        xerr=[[latency.value - latency.low], [latency.high - latency.value]],
        yerr=[[lost.value - lost.low], [lost.high - lost.value]],
        fmt="o",
        color=color,
        capsize=2,
    )
    at, line = (latency.value, lost.value), {"arrowstyle": "-", "color": color, "linewidth": 0.5}
    axes.annotate(label, at, offset, textcoords="offset points", color=color, fontsize=9, arrowprops=line)


if __name__ == "__main__":
    main()
