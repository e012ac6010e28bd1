"""Quantises: what folds is folded, real degraded crops calibrate, and a target's own tool rounds."""
