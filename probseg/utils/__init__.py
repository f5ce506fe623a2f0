"""General helpers: files, interrupts, seeds, devices, optional packages, progress bars."""
