"""Side by side with the peers: one command measures, checks and writes the table that docs show."""
