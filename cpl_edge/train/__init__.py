"""Training of students: recipes, checkpoints, the loop."""
