"""What is concluded: memory, risk, speed, recommendations and their evidence."""
