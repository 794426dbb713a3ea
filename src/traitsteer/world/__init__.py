"""Floor 2: one file or room for each outside thing; imports words and maths."""
