"""What is run once: the shipped base and encoder of the field guide. Not in the wheel."""
