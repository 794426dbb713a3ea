"""Floor 3: rows of settings in, responses, activations or scored answers out."""
