"""Access keys, sealed under the master key."""
