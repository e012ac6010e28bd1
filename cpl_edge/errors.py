"""Errors that say what to do, and their exit codes."""

from __future__ import annotations

import importlib
from types import ModuleType


class CplEdgeError(Exception):
    """A check or gate failed, or the product cannot go on. Exit code 1."""

    exit_code = 1


class UserError(CplEdgeError, ValueError):
    """A mistake in what was asked for; the message is one line that says what to do instead."""

    exit_code = 2


class ImageError(UserError):
    """A file that cannot be read or written as an image."""


class MissingExtra(UserError):
    """An optional package is not installed; the message holds the exact pip line."""


class GateFailed(CplEdgeError):
    """A build missed one of its gates."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Args:
        module: dotted name of the module, e.g. ``"torch"``.
        extra: name of the extra in pyproject.toml that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtra: the module's top-level package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != top:
            raise
        raise MissingExtra(
            f"this needs the package {top!r}: pip install 'cpl-edge[{extra}]'"
        ) from error
