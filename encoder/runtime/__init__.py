"""What runs a model: ONNX Runtime on CPU, MindSpore on Ascend; several models and several devices as one encoder."""
