"""Measuring how well a model restores: suites, PSNR and SSIM."""
