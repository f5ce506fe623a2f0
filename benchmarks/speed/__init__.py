"""How fast probseg is beside what a user would pick instead, measured in one run."""
