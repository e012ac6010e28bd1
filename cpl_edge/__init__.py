"""cpl_edge: all-in-one image restoration with sparse prompts, from training to the phone."""

__version__ = "0.1.0"
