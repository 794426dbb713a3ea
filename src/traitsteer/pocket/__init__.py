"""A side building: what the embedded models and their judge are made of; stages alone import it."""
