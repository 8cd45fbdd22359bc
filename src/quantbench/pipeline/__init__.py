"""From a run to its result: export, ranges, quantization, evaluation, timing."""
