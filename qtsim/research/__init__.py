"""Sweeps: which trials to make, making them, keeping them, and what they prove together."""
