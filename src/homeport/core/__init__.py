"""Pure building blocks: standard library and msgspec only, no clock, no randomness, no I/O."""
