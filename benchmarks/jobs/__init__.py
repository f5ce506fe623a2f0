"""One experiment: its data, training, scores, pictures and result."""
