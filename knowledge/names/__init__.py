"""Free text to one catalog entry."""
