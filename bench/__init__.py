"""What is measured, runnable by anyone: ``make bench``."""
