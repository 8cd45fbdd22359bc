"""Messages for what cannot be found or reached."""

from __future__ import annotations

from quantbench.errors import BadInput, Mistake, first_line


def mistake(key: str, message: str) -> BadInput:
    """A mistake at a dotted key of the configuration; ``preflight`` turns the key into file and line."""
    return BadInput([Mistake(key, message)])


def hub_problem(what: str, name: str, error: Exception) -> str:
    """Why a model or a data set (``what``) could not be had from the hub, and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE or isinstance(error, LocalEntryNotFoundError):
        return (
            f"{what} {name!r} is neither a local path nor in the hub's cache, and the hub cannot be reached "
            "(offline); give a local path, or fetch it once while online"
        )
    if isinstance(error, GatedRepoError):
        return f"{what} {name!r} is gated on the hub; accept its terms there and log in with 'hf auth login'"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{what} {name!r} is neither a local path nor a repository on the hub (or it is private: 'hf auth login')"
        )
    return f"{what} {name!r} cannot be loaded: {first_line(error)}"
