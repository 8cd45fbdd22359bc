"""The candidates that ``tune`` chooses from on a host: a runtime and a form of int8 each, as settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from quantbench.plugins import registry
from quantbench.schema.settings import Calibration, FrameworkArgs, Mode, Placement, Settings
from quantbench.system.instruction_sets import BFLOAT16_SETS

OPSET = 17
"""Since opset 17 layer normalization is one node, which every runtime here computes in one pass."""


@dataclass(frozen=True)
class Candidate:
    """A runtime and a form of int8.

    Attributes:
        name: what reports call it, and ``--only`` chooses by.
        settings: of its version at step 0.
        mode: what its products are computed in; None where they cannot be placed one by one.
        fallback: the mode of groups that lose too much in ``mode``.

    """

    name: str
    settings: Settings
    mode: Mode | None = None
    fallback: Mode = "float"

    @property
    def plain(self) -> bool:
        """Whether nothing is in int8."""
        return self.settings.quantization_approach == "none"

    def version(self, products: Collection[str]) -> Settings:
        """Settings with the named products in the fallback mode."""
        if not products:
            return self.settings
        matmuls = {_literal(name): self.fallback for name in products}
        placement = self.settings.placement.model_copy(update={"matmuls": matmuls})
        return self.settings.model_copy(update={"placement": placement})


def candidates_for(base: Settings, instruction_sets: Collection[str]) -> list[Candidate]:
    """Every candidate that this host can run, of one base configuration."""
    plain = base.model_copy(
        update={
            "framework": "onnxruntime",
            "quantization_approach": "mixed",
            "framework_args": FrameworkArgs(opset=OPSET),
            "operators_to_quantize": ("MatMul",),
            "node_exclusion": (),
            "per_channel": True,
            "activation_type": "auto",
            "weight_type": "auto",
            "placement": Placement(),
        }
    )
    found = [*_onnxruntime(plain)]
    if "openvino" in registry.names("runtimes") and find_spec("openvino") is not None:
        found += _openvino(plain, bool(set(BFLOAT16_SETS) & set(instruction_sets)))
    return found


def _onnxruntime(plain: Settings) -> Sequence[Candidate]:
    def version(name: str, placement: Placement, fallback: Mode, calibration: Calibration | None = None) -> Candidate:
        update = {"placement": placement, "calibration": calibration or plain.calibration}
        return Candidate(f"onnxruntime-{name}", plain.model_copy(update=update), placement.default, fallback)

    own: dict[str, Any] = {"operators": "onnxruntime"}
    squares = _least_squares(plain)
    return [
        version("dynamic", Placement(default="dynamic", **own), "float"),
        version("dynamic-merged", Placement(default="dynamic", merge=True, **own), "float"),
        version("static", Placement(default="static", **own), "dynamic", squares),
        version("static-merged", Placement(default="static", merge=True, **own), "dynamic", squares),
        Candidate("onnxruntime-float32", plain.model_copy(update={"quantization_approach": "none"})),
    ]


def _least_squares(plain: Settings) -> Calibration:
    """Ranges of least error from sentences as they are: padded ones would show what no served sentence does."""
    return plain.calibration.model_copy(update={"method": "mse", "padding": "none", "moving_average": False})


def _openvino(plain: Settings, bfloat16: bool) -> Sequence[Candidate]:
    squares = _least_squares(plain)
    samples = plain.calibration.num_calibration_samples
    found = []
    for precision in ("bfloat16", "float32") if bfloat16 else ("float32",):
        args = plain.framework_args.model_copy(update={"precision": precision})
        own = plain.model_copy(update={"framework": "openvino", "framework_args": args})
        placed = own.model_copy(update={"placement": Placement(default="static"), "calibration": squares})
        nncf = own.model_copy(
            update={
                "quantization_approach": "static",
                "per_channel": False,
                "calibration": Calibration(num_calibration_samples=samples),
            }
        )
        found += [
            Candidate(f"openvino-static-{precision}", placed, "static"),
            Candidate(f"openvino-nncf-{precision}", nncf),
            Candidate(f"openvino-{precision}", own.model_copy(update={"quantization_approach": "none"})),
        ]
    return found


def _literal(name: str) -> str:
    """A glob that matches exactly this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
