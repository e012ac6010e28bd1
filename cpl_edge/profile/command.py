"""What the verb was asked for: options that fit together, and the profiles they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cpl_edge.errors import UserError
from cpl_edge.profile.schema import Profile
from cpl_edge.runtimes.info import ENTRY_POINTS, restorer


@dataclass(frozen=True)
class Asked:
    """The options of ``python -m cpl_edge.profile``; see its ``--help``."""

    model: str | None
    threads: int = 1
    entry: str | None = None
    runs: int = 30
    imported: Path | None = None
    build: Path | None = None
    etrecord: Path | None = None
    device: str | None = None
    benchmark: Path | None = None


def profiles(asked: Asked) -> list[Profile]:
    """Measure here, run on a phone, or import.

    Raises:
        UserError: options that do not fit together, or what they name is not there.
    """
    from cpl_edge.profile.device import profile_on_phone
    from cpl_edge.profile.importing import import_profile
    from cpl_edge.profile.measuring import profile_here
    from cpl_edge.profile.model import Model, load_model
    from cpl_edge.runtimes import find_model

    _check(asked)
    if asked.imported is not None:
        if not asked.imported.is_file():  # told before the model is opened, which takes time
            import_profile(asked.imported, Model(), Model().function(asked.entry))
        built = find_model(str(asked.build)) if asked.build is not None else None
        model = load_model(built)
        return import_profile(asked.imported, model, model.function(asked.entry), asked.etrecord)
    path = find_model(str(asked.model))
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path of the model")
    model = load_model(path)
    entry = model.function(asked.entry)
    if asked.device is not None:
        assert asked.benchmark is not None
        return [profile_on_phone(model, asked.benchmark, entry, asked.threads, asked.runs)]
    return [profile_here(model, entry, asked.threads, asked.runs)]


def _check(asked: Asked) -> None:
    entry = asked.entry or ENTRY_POINTS[0]
    if entry not in ENTRY_POINTS and not entry.startswith(restorer("")):
        raise UserError(f"no entry point {asked.entry!r}: choose from {', '.join(ENTRY_POINTS)}")
    if asked.imported is not None and asked.model is not None:
        raise UserError("give either a model to run or --import FILE; its build goes to --model")
    if asked.imported is None and asked.model is None:
        hint = "give it without --model" if asked.build else "give a model, or --import FILE"
        raise UserError(f"nothing to profile: {hint}")
    if asked.imported is None and (asked.build or asked.etrecord):
        raise UserError("--model and --etrecord belong to --import FILE")
    if asked.device not in (None, "adb"):
        raise UserError(f"no device {asked.device!r}: only adb is known")
    if asked.device is not None and asked.imported is not None:
        raise UserError("--device runs a model; an imported file needs none: leave one of them out")
    if asked.device is not None and asked.benchmark is None:
        raise UserError(
            "--device adb needs --benchmark BINARY: the runtime's own benchmark program, built for "
            "the phone"
        )
    if asked.device is None and asked.benchmark is not None:
        raise UserError("--benchmark belongs to --device adb")
