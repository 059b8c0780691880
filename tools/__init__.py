"""Scripts that are run once: they make the shipped base and encoder of the field guide. Not in the wheel."""
