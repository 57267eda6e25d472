"""Exports the network in MindSpore to the graphs that ONNX Runtime runs, in float32 and in 8 bits."""
