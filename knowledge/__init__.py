"""What is known: facts, names, observations. It never imports `advisor`."""
