"""One reader for each model format: ``read(path)`` gives a graph for each entry point."""
