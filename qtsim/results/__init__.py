"""Run folder, tables, metrics, first screen."""
