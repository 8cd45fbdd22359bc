"""Static int8 by NNCF, which decides by itself what is quantized and how, as an OpenVINO IR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from quantbench.plugins.options import typed
from quantbench.plugins.quantizing import Candidate, Inspection, QuantizerInputs, Reads
from quantbench.quantizers._decided import GRANULARITY, decided_alone
from quantbench.runtimes import openvino
from quantbench.schema.settings import Calibration, Recipe, Settings

if TYPE_CHECKING:
    from quantbench.served.modules import Head

SUMMARY = "static int8 by NNCF, which decides what is quantized"
FILE = "model.xml"
EMBEDDING = "openvino/openvino_model.xml"
"""Where sentence-transformers looks for it."""
LIBRARIES = ("openvino", "nncf")
EXTRA = "openvino"
DECIDES = GRANULARITY
NOTE = (
    "With framework openvino and quantization_approach static NNCF chose operators, granularity and number types; the "
    "range of an activation is the mean over the samples of each sample's extremes"
)


RULES = decided_alone(DECIDES, "NNCF", ", or use quantization_approach mixed")


def files(path: Path) -> tuple[Path, ...]:
    """The graph and the weights."""
    from quantbench.quantize import with_nncf

    return with_nncf.files(path)


def reads(settings: Recipe) -> Reads:
    """Samples, over which it collects ranges itself."""
    return "samples"


def write(settings: Recipe, inputs: QuantizerInputs, path: Path) -> dict[str, JsonValue]:
    """See ``quantize.with_nncf``; what it chose is read from what it made."""
    from quantbench.quantize import with_nncf

    samples = inputs.samples
    assert samples is not None, "as reads asks for"
    args = typed(openvino.Args, settings)
    with_nncf.write_int8(inputs.exported, args, samples.count, samples.sample, path)
    return with_nncf.chosen(with_nncf.read(path))


def inspect(path: Path) -> Inspection:
    """Operators that read quantized values only, and the hash of the IR's computation."""
    from quantbench.quantize import with_nncf

    model = with_nncf.read(path)
    return Inspection(with_nncf.quantized_operators(model), with_nncf.computation_hash(model))


def write_embedding(path: Path, head: Head, prompt: int, folder: Path) -> Path:
    """See ``quantize.with_nncf``: nodes are added behind those that there are, of which none changes."""
    from quantbench.quantize import with_nncf

    target = folder / EMBEDDING
    with_nncf.write_embedding(path, head, prompt, target)
    return target


def candidates(base: Settings) -> list[Candidate]:
    """NNCF's own choice, with ``base``'s number of samples and precision."""
    calibration = Calibration(num_calibration_samples=base.calibration.num_calibration_samples)
    settings = base.model_copy(update={"per_channel": False, "calibration": calibration})
    return [Candidate(f"{base.framework}-nncf-{base.framework_args.precision}", settings)]
