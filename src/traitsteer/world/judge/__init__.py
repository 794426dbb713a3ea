"""Who scores: the judges, what they are asked, what they reply and what it costs."""
