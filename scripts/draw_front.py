"""Draw loss against latency of finished runs, from the ``summary.json`` of their output folders, as SVG.

    python scripts/draw_front.py --out docs/images/demo.svg --point runs/demo node_exclusion-none "static int8"

``--point`` names a folder, a run and what to call it, and may be repeated. Latency is a share of PyTorch's own in the
same rounds, so that folders of one machine can stand in one picture. Bars are 95 % intervals.
"""

import argparse
import json
from pathlib import Path
from typing import Any

METRIC, TIMED = "f1", 0
"""What is lost, and which of the timed shapes is drawn."""


def main() -> None:
    """Draw the points that are named, PyTorch, and the float export of the first."""
    import matplotlib as mpl

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--point", nargs=3, action="append", required=True, metavar=("FOLDER", "RUN", "LABEL"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    mpl.rcParams["svg.hashsalt"] = "quantbench"  # equal pictures are equal files
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    rows = [(row(Path(folder), name), label) for folder, name, label in arguments.point]
    _draw(axes, (100.0, 100.0, 100.0), (0.0, 0.0, 0.0), "PyTorch, float32", "black")
    _draw(axes, share(rows[0][0], "onnx-float"), (0.0, 0.0, 0.0), "ONNX Runtime, float32", "grey")
    for number, (found, label) in enumerate(rows):
        _draw(axes, share(found, "optimized"), loss(found), label, f"C{number}")
    latency = rows[0][0]["latency"][TIMED]
    axes.set_xlabel(f"latency at {latency['batch_size']} × {latency['input_length']}, % of PyTorch's")
    axes.set_ylabel(f"{METRIC} lost")
    axes.set_xlim(0, 118)
    axes.grid(alpha=0.3)
    figure.savefig(arguments.out, format="svg", metadata={"Date": None}, facecolor="white")


def row(folder: Path, name: str) -> dict[str, Any]:
    """The run of this name.

    Raises:
        SystemExit: if there is none; the message names those that there are.

    """
    runs: list[dict[str, Any]] = json.loads((folder / "summary.json").read_text())["runs"]
    found = [run for run in runs if run["name"] == name and run["status"] == "done"]
    if not found:
        raise SystemExit(f"{folder} has no finished run {name}, but {', '.join(run['name'] for run in runs)}")
    return found[0]


def share(run: dict[str, Any], arm: str) -> tuple[float, float, float]:
    """The arm's latency in percent of PyTorch's, with the ends of its interval."""
    (speedup,) = [
        item for item in run["latency"][TIMED]["speedup"] if (item["arm"], item["against"]) == (arm, "pytorch")
    ]
    return 100 / speedup["ratio"], 100 / speedup["high"], 100 / speedup["low"]


def loss(run: dict[str, Any]) -> tuple[float, float, float]:
    """What was lost, with the ends of its interval."""
    difference = run["difference"][METRIC]
    return -difference["value"], -difference["high"], -difference["low"]


def _draw(
    axes: Any, latency: tuple[float, float, float], lost: tuple[float, float, float], label: str, color: str
) -> None:
    """A point with its intervals and its name."""
    (x, left, right), (y, low, high) = latency, lost
    axes.errorbar(x, y, xerr=[[x - left], [right - x]], yerr=[[y - low], [high - y]], fmt="o", color=color, capsize=2)
    axes.annotate(label, (x, y), xytext=(6, 6), textcoords="offset points", color=color, fontsize=9)


if __name__ == "__main__":
    main()
