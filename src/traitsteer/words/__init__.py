"""Floor 0: the records that pass between stages, the configuration and the errors."""
