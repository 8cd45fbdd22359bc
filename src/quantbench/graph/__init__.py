"""ONNX graphs: what is connected with what, and what they compute."""
