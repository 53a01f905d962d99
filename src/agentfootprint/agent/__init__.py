"""The agent: the loop of model and tools as a flow."""
