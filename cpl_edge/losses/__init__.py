"""Training losses: reconstruction, and CPL's contrastive prompt regularisation on features."""
