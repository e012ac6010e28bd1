"""Search: candidates for a student, trained on one budget and measured on the same crops."""
