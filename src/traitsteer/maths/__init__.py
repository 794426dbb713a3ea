"""Floor 1: tensors in, tensors out. No files, no models."""
