"""A side building: tiny random models of real architectures, and a judge behind HTTP."""
