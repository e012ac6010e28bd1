"""Quantises: what folds is folded, real degraded crops calibrate, a target's own tool rounds."""
