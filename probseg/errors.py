"""Exceptions; their messages name the thing, the nearest right thing and the remedy."""

from __future__ import annotations


class ProbsegError(Exception):
    """Any error that probseg raises on purpose; its text is meant for the user."""


class UnknownNameError(ProbsegError, KeyError):
    """A name that is not in a registry."""

    def __str__(self) -> str:
        """The message itself: ``KeyError`` would show its repr."""
        return str(self.args[0]) if self.args else ""


class OptionError(ProbsegError, ValueError):
    """An option that is unknown, of the wrong type or out of range."""


class InputError(ProbsegError, ValueError):
    """A tensor of the wrong rank, size, type or content."""


class MissingDensityError(InputError):
    """Samples without the prior or the posterior that something needs."""


class DataError(ProbsegError, ValueError):
    """A file or a data set that cannot be read as what it should be."""


class MissingDataError(DataError):
    """A data set whose files are not on this disk."""


class NotPackedError(DataError):
    """A data set that is here but not packed, which was not to be packed either."""


class CheckpointError(ProbsegError, ValueError):
    """A checkpoint that is corrupt or belongs to another model."""


class PluginError(ProbsegError, ImportError):
    """A plugin that cannot be imported, or that provides the same name as another one."""


class MissingPluginError(PluginError, UnknownNameError):
    """A part of a plugin that is not installed."""


class MissingDependencyError(ProbsegError, ImportError):
    """A package that is not installed, and that something optional needs."""


class HubError(ProbsegError, OSError):
    """A repository of models that cannot be read or written."""


class ExportError(ProbsegError, ValueError):
    """A model that cannot be exported as a program."""
