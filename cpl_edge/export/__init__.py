"""Exports: a student and a recipe become a build, and a build must pass its gates."""
