"""Helpers that know nothing of segmentation: files, interrupts, seeds, progress bars."""
