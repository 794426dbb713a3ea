"""What other projects write and read: trait folders and vectors in their formats."""
