"""What restoring costs: time and memory."""
