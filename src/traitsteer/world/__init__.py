"""Floor 2: one file for each outside thing; imports words and maths."""
