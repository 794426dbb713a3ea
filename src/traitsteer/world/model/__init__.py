"""The language model: how it is found, read, run and changed while it runs."""
