"""Saving and sharing models: checkpoints, folders, model cards, the hub, exported samplers."""
