"""Floor 5: one file for each stage of dvc.yaml; reads files, calls below, writes files."""
