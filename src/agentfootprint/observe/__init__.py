"""Recorders: whatever watches runs."""
