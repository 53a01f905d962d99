"""Where memory entries are kept: one adapter per file."""
