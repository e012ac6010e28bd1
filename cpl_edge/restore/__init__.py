"""Photos of any size through any runtime."""
