"""Measuring how well a model restores: suites, PSNR, SSIM and LPIPS."""
