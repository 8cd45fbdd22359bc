"""What runtimes say of ``supported_instructions``; see ``system.instruction_sets``."""

UNCAPPED = (
    "supported_instructions caps PyTorch and oneDNN; ONNX Runtime chooses its kernels by the CPU and was not capped"
)
"""Said of ONNX Runtime's own runs, and of PyTorch's, whose float export it runs."""
