"""Floor 4: what a study asks of the engine and the judge; settings in, scored answers out."""
