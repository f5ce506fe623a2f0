"""Models that leave the process: checkpoints, folders, model cards, the hub, exported samplers."""
