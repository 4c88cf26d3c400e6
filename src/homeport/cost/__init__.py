"""What AWS would bill. Pure: prices and times are arguments, and nothing here knows a task or a machine."""
