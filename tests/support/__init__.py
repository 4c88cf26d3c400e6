"""What several tests use: a running Homeport and its tasks."""
