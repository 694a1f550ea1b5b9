"""Files of measurements into the store."""
