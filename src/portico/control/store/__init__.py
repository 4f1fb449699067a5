"""What must survive a restart, in SQL."""
