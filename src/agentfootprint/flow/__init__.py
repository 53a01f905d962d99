"""The engine: flows, steps and their journal."""
