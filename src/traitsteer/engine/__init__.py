"""Floor 3: the engine; rows of settings in, token ids or activations out."""
