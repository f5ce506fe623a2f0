"""Running a plan of experiments: in this process, in several, or on a Ray cluster."""
