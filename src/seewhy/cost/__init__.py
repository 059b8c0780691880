"""What a run will cost, before it is paid: tokens, operations, memory, hours, disk; from data and settings alone."""
