"""The pictures, each family in a file of its own; matplotlib lives here."""
