"""Small records that instances share."""
