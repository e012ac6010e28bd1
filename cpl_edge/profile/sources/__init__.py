"""One file for each place that profiles come from: measured here, or imported from a file."""
