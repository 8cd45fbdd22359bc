"""``why.md``: a diagnosis as tables and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quantbench.analysis import losses
from quantbench.diagnose.damage import NEGLIGIBLE, SHARE
from quantbench.diagnose.records import BITS, Cause, Damage, Diagnosis, Fault, Remedy, Tensor
from quantbench.reports._markdown import spread, table
from quantbench.schema.results import Result

FILE = "why.md"
SAVES = 0.8
"""Share of the damage that a measure must recover to be said to save the model."""
NAMED = 4
"""Channels that a sentence names."""


def text(results: Sequence[Result], found: Sequence[Diagnosis | None]) -> str:
    """What was found, as Markdown."""
    parts = (
        render(diagnosis, result) if diagnosis else nothing_lost(result)
        for result, diagnosis in zip(results, found, strict=True)
    )
    return "\n".join(parts)


def nothing_lost(result: Result) -> str:
    """The text of a run that loses nothing."""
    name = losses.main_metric(result)
    before, after = (result.scores[arm] for arm in ("original", "optimized"))
    difference = losses.differences(result)[name]
    return (
        f"# `{result.run.name}` loses nothing: nothing needs mending\n\n"
        f"{name} {before.metrics[name]:.3f} -> {after.metrics[name]:.3f} over {before.examples} examples; the "
        f"95 % interval of the difference, {spread(difference, 4, '+')}, does not lie below zero. "
        f"{_percent(after.changed / after.examples)} of predictions changed. If a smaller loss matters, evaluate more "
        "examples (max_eval_samples).\n"
    )


def render(diagnosis: Diagnosis, result: Result) -> str:
    """The text of one diagnosis, Markdown."""
    lines = [f"# Why `{diagnosis.run}` loses what it loses", "", _loss(diagnosis, result), ""]
    if not diagnosis.faults:
        lines += ["No activation is at fault: rounding them changes no prediction of the sample.", ""]
    else:
        lines += [
            "## Tensors at fault",
            "",
            _kept(diagnosis),
            "",
            _fault_table(diagnosis.faults),
            "",
            _others(diagnosis),
        ]
        lines += ["", "## What sets their ranges", "", *_reasons(diagnosis.faults), ""]
    lines += ["## What mends it", "", "Each measure alone, really quantized and run on the sample:", ""]
    lines += [_remedy_table(diagnosis.remedies), "", *_verdict(diagnosis), ""]
    return "\n".join(lines)


def at_fault(diagnosis: Diagnosis) -> str:
    """The tensors at fault and what sets their ranges, Markdown; of a model of which nothing else is known."""
    if not diagnosis.faults:
        return (
            f"The ranges of its {len(diagnosis.tensors)} rounded activations are not to blame: rounding them in float "
            f"arithmetic gives {_damage(diagnosis.rounded)}, rounding only the weights {_damage(diagnosis.weights)}, "
            f"the file itself {_damage(diagnosis.file)} (predictions changed, in brackets nats)."
        )
    reasons = "\n".join(_reasons(diagnosis.faults))
    return "\n\n".join([_kept(diagnosis), _fault_table(diagnosis.faults), _others(diagnosis), reasons])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _span(between: tuple[float, float]) -> str:
    return f"{_number(between[0])} to {_number(between[1])}"


def _damage(damage: Damage) -> str:
    return f"{_percent(damage.changed)} ({damage.divergence:.3g})"


def _decibels(tensor: Tensor) -> str:
    """SQNR of all values, in brackets that of the median channel."""
    whole, median = ("–" if value is None else f"{value:.1f}" for value in (tensor.decibels, tensor.median_decibels))
    return f"{whole} ({median})"


def _loss(diagnosis: Diagnosis, result: Result) -> str:
    name, _ = losses.loss(result)
    before, after = (result.scores[arm] for arm in ("original", "optimized"))
    text = (
        f"{name} {before.metrics[name]:.3f} -> {after.metrics[name]:.3f} over {before.examples} examples. On a sample "
        f"of {diagnosis.examples[0]} the int8 file changes {_percent(diagnosis.file.changed)} of predictions "
        f"(in brackets, here and below: mean divergence of its output from the float model's, "
        f"{diagnosis.file.divergence:.3g} nats). "
        f"It rounds {len(diagnosis.tensors)} activations: rounding these in float arithmetic gives "
        f"{_damage(diagnosis.rounded)}, rounding only the weights {_damage(diagnosis.weights)}."
    )
    if diagnosis.file.divergence > 2 * diagnosis.rounded.divergence:
        text += " The file does more damage than its rounding explains: look at the kernels (weight_type, per_channel)."
    return text


def _kept(diagnosis: Diagnosis) -> str:
    count, total = len(diagnosis.faults), len(diagnosis.tensors)
    them = "it" if count == 1 else "these"
    return (
        f"**{count} of {total} rounded activations** do the damage: with {them} in float "
        f"and all others rounded, {_damage(diagnosis.kept)} is left; {_percent(diagnosis.recovered)} of the damage is "
        "gone."
    )


def _fault_table(faults: Sequence[Fault]) -> str:
    header = [
        "tensor",
        "SQNR, dB (median channel)",
        "it alone rounded",
        "all but it rounded",
        "others at fault in float",
    ]
    header += ["range in the file", "real values", "levels used", "set by"]
    rows = []
    for fault in faults:
        tensor = fault.tensor
        rows.append(
            [
                f"`{tensor.name}`",
                _decibels(tensor),
                _damage(fault.alone),
                _damage(fault.spared),
                _damage(fault.again),
                _span(tensor.range),
                _span(tensor.needed),
                f"{tensor.levels} of 256",
                ", ".join(cause.kind for cause in fault.causes),
            ]
        )
    return table(header, rows)


def _others(diagnosis: Diagnosis) -> str:
    """The other tensors in one sentence: the noisiest of them, and the one that does most damage alone."""
    guilty = {fault.tensor.name for fault in diagnosis.faults}
    others = [tensor for tensor in diagnosis.tensors if tensor.name not in guilty]
    if not others:
        return "No other activation is rounded."
    negligible = f"less than {_percent(NEGLIGIBLE)} of the damage"
    suspects = [tensor for tensor in others if tensor.alone is not None]
    text = f"Of the {len(others)} others, each does {negligible} alone"
    if suspects:
        worst = max(suspects, key=lambda tensor: tensor.alone.divergence if tensor.alone else 0.0)
        text += f", except {len(suspects)}, of which `{worst.name}` does most"
        text += f", {_damage(worst.alone)}" if worst.alone else ""
    noisy = [tensor for tensor in others if tensor.decibels is not None]
    if noisy:
        least = min(noisy, key=lambda tensor: tensor.decibels or 0.0)
        text += f". The noisiest of them is `{least.name}` with {least.decibels:.1f} dB"
        if _without_layers(least.name) in map(_without_layers, guilty):
            text += f", of the same kind as those at fault; {_percent(SHARE)} are reached without it"
    return text + "."


def _without_layers(name: str) -> str:
    """A tensor's name without the numbers of layers."""
    return re.sub(r"\d+(?=[./])", "*", name)


def _reasons(faults: Sequence[Fault]) -> list[str]:
    """One paragraph per kind of tensor: those that differ in the layer's number only are told together."""
    alike: dict[tuple[str, tuple[str, ...]], list[Fault]] = {}
    for fault in faults:
        key = _without_layers(fault.tensor.name), tuple(cause.kind for cause in fault.causes)
        alike.setdefault(key, []).append(fault)
    lines = []
    for (pattern, _), members in alike.items():
        first = members[0]
        name = f"`{first.tensor.name}`" if len(members) == 1 else f"`{pattern}` ({len(members)} tensors)"
        example = "" if len(members) == 1 else f"; in `{first.tensor.name}`"
        masked = first.causes[0].kind == "constant"  # its sentence says that it stands at padded positions
        reasons = "; ".join(_reason(cause, first) for cause in first.causes if not (masked and cause.kind == "padding"))
        groups = f" Left in float by: {', '.join(first.freed_by)}." if first.freed_by else ""
        lines.append(
            f"- {name}, made by {first.tensor.maker}{example}: range {_span(first.tensor.range)}, "
            f"{reasons}. Real values need {_span(first.tensor.needed)} and fall on {first.tensor.levels} of 256 "
            f"numbers.{groups}"
        )
    return lines


def _lost(cause: Cause) -> str:
    if cause.bits >= BITS:
        return f"all {BITS} bits are lost"
    return f"{cause.bits:.1f} of {BITS} bits are lost"


def _place(channel: Sequence[int]) -> str:
    return "/".join(map(str, channel))


def _reason(cause: Cause, fault: Fault) -> str:
    """One cause in words; the keys are all there are."""
    peak = fault.peak
    at_padding = peak is not None and peak.padded
    channel = f" in channel {_place(peak.channel)}" if peak is not None and peak.channel else ""
    extreme = f" ({_number(peak.value)}{channel})" if peak is not None and at_padding else ""
    named = ", ".join(map(_place, cause.channels[:NAMED])) + (", …" if len(cause.channels) > NAMED else "")
    clipped = f"too narrow: {_percent(cause.share or 0.0)} of the noise comes from values beyond it"
    if cause.value is not None:
        clipped = f"too narrow for the mask's {_number(cause.value)}, so that padding in a batch gets attention"
    sentences = {
        "constant": f"set by the constant {_number(cause.value or 0.0)} that the graph adds"
        f"{' at padded positions of the calibration samples' if at_padding else ''} (a mask): {_lost(cause)}",
        "padding": f"set at padded positions of the calibration samples{extreme}: {_lost(cause)}",
        "special tokens": f"set at the special token {', '.join(cause.tokens)}: {_lost(cause)}",
        "channels": f"set by channel {named}, {cause.factor or 0.0:.0f} times the median channel: {_lost(cause)}",
        "clipped": clipped,
        "wide": "needed by real values as wide as it is",
    }
    return sentences[cause.kind]


def _remedy_table(remedies: Sequence[Remedy]) -> str:
    header = ["parameter", "value", "activations left in float", "predictions changed", "damage recovered"]
    rows = [
        [f"`{item.key}`", f"`{item.value}`", str(item.freed), _damage(item.damage), _percent(max(0.0, item.recovered))]
        for item in remedies
    ]
    return table(header, rows)


def _verdict(diagnosis: Diagnosis) -> list[str]:
    lines = []
    groups = [item for item in diagnosis.remedies if item.key == "node_exclusion"]
    single = sorted((item for item in groups if "," not in item.value), key=lambda item: -item.recovered)
    if single and single[0].recovered >= SAVES:
        saving = [item for item in single if item.recovered >= SAVES]
        names = " or ".join(f"`node_exclusion: {item.value}`" for item in saving)
        rest = single[len(saving) :]
        text = f"{names} alone saves the model: {_percent(single[0].recovered)} of the damage is gone."
        if rest:
            text += f" No other group recovers more than {_percent(max(0.0, rest[0].recovered))}."
        lines.append(text)
    elif single:
        together = next((item for item in groups if "," in item.value), None)
        nearest = f"`{single[0].value}` comes nearest with {_percent(single[0].recovered)}"
        text = f"No group alone saves the model; {nearest if single[0].recovered > 0 else 'none recovers anything'}"
        lines.append(text + (f", all together recover {_percent(together.recovered)}." if together else "."))
    for item in diagnosis.remedies:
        if item.key != "node_exclusion":
            does = "saves it too" if item.recovered >= SAVES else "does not save it"
            lines.append(f"`{item.key}: {item.value}` {does}: {_percent(max(0.0, item.recovered))} recovered.")
    return lines
