"""Kits and doubles for tests of agents, tools and adapters."""
