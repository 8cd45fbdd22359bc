"""Which architectures of encoders can be exported, quantized and tuned."""
