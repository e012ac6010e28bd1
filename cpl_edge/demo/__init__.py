"""The first look: bundled photos degraded in five ways, restored, shown side by side."""
