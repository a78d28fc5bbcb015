"""Predictors to other forms, by the exporters of PyTorch, ONNX Runtime and OpenVINO."""
