"""Float ONNX to int8 ONNX: samples, ranges, number types, the quantized graph, and its inspection."""
