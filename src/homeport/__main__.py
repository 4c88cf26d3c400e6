"""``python -m homeport``."""

from homeport.cli import main

main()
