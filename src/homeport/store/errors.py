"""What can go wrong with the store, by what its user must do about it."""

from __future__ import annotations


class StoreClosed(Exception):
    """Writes are closed (disk full, read-only, shut down) and this one did not happen; the front answers
    ServerException. Reads go on."""


class AppendFailed(Exception):
    """The journal did not write any of the commits, and knows it: try again later."""


class OutcomeUnknown(Exception):
    """The commits may or may not have reached the disk (a failed fsync, a lost connection): reload from the journal."""


class Fenced(Exception):
    """Another process has written to the journal: this one must end."""


class Unstorable(TypeError):
    """A record that could not be read back: a value is not of the type that its record declares."""


class UnusableFile(Exception):
    """The journal's file can't be opened for writing; it was left as it was."""


class DamagedFile(UnusableFile):
    """The file's content is not what was written."""


class NewerFile(UnusableFile):
    """The file was written by a newer program."""
