"""Find, prove and compare trait directions in the residual stream of language models."""

__version__ = "0.1.0"
