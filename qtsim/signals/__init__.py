"""Strategies, signal tables, causality checks."""
