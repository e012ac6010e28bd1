"""Which photos to restore, and where the results go.

Results are PNG unless a file is named: it keeps alpha, 16 bits, profile and EXIF, and adds no
losses. Nothing that exists is replaced unless asked, and a run over many photos never replaces one
of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cpl_edge.data.image_writing import WRITTEN_SUFFIXES
from cpl_edge.data.images import is_image
from cpl_edge.errors import UserError

RESULT_SUFFIX = ".png"
MARK = "_restored"
"""End of a result's name beside its photo."""


@dataclass(frozen=True)
class Job:
    """One photo to restore."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Left:
    """A file that is left out, with the reason for the user."""

    path: Path
    reason: str


@dataclass
class Plan:
    """What a run will do.

    Attributes:
        jobs: photos to restore, in order.
        skipped: files that are none of its business; not an error.
        failed: photos that should be restored but cannot be.
        many: the user gave a folder, a pattern or several files: one bad one stops nothing.
    """

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Left] = field(default_factory=list)
    failed: list[Left] = field(default_factory=list)
    many: bool = False


@dataclass(frozen=True)
class _Found:
    path: Path
    base: Path  # what the result's folder structure is relative to
    named: bool  # by the user, rather than found in a folder


def plan(
    inputs: Sequence[str],
    output: Path | None = None,
    recursive: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Find the photos and name their results.

    Args:
        inputs: files, folders and patterns (``*``, ``?``, ``[...]``, ``**``).
        output: a file for one photo, or a folder (kept structure below a recursive folder); None
            puts ``NAME_restored.png`` beside each photo.
        recursive: look into folders of folders.
        overwrite: replace existing results.

    Returns:
        The plan; with one named file it has one job.

    Raises:
        UserError: nothing to restore, one file name for many photos, or a file that cannot be
            written.
    """
    found = [item for text in inputs for item in _expand(text, recursive)]
    many = len(found) != 1 or not found[0].named
    as_file = output is not None and _names_a_file(output)
    if output is not None and as_file:
        _check_file(output, many)
    result = Plan(many=many)
    sources: dict[Path, Path] = {}  # resolved -> as given
    targets: dict[Path, Path] = {}  # resolved -> its photo
    wanted = []
    for item in found:
        if not item.named and (reason := _foreign(item, output, as_file)):
            result.skipped.append(Left(item.path, reason))
        elif (resolved := item.path.resolve()) not in sources:
            sources[resolved] = item.path
            wanted.append(item)
    for item in wanted:
        target = _target(item, output, as_file)
        resolved = target.resolve()
        if many and resolved in sources:
            reason = f"its result {target} would replace a photo of this run: give another -o"
            result.failed.append(Left(item.path, reason))
        elif resolved in targets:
            reason = f"its result {target} is that of {targets[resolved]} too: restore it alone"
            result.failed.append(Left(item.path, reason))
        elif target.exists() and not overwrite:
            reason = f"{target} exists already: pass --overwrite to replace it"
            if not many:
                raise UserError(reason)
            result.skipped.append(Left(item.path, reason))
        else:
            targets[resolved] = item.path
            result.jobs.append(Job(item.path, target))
    if not found or (not wanted and many):
        raise UserError(
            f"no photos in {', '.join(inputs)}: give files, folders"
            f"{'' if recursive else ' (--recursive looks deeper)'} or patterns"
        )
    return result


def _expand(text: str, recursive: bool) -> Iterator[_Found]:
    path = Path(text)
    if path.is_dir():
        inside = path.rglob("*") if recursive else path.glob("*")
        yield from (_Found(p, path, False) for p in sorted(inside) if not p.is_dir())
    elif path.exists() or not any(letter in text for letter in "*?["):
        yield _Found(path, path.parent, True)
    else:
        root = Path(path.anchor)  # Path.glob takes relative patterns only
        pattern = str(path.relative_to(root))
        matches = sorted(p for p in root.glob(pattern) if not p.is_dir())
        yield from (_Found(p, p.parent, False) for p in matches)


def _names_a_file(output: Path) -> bool:
    return output.suffix != "" and not output.is_dir()


def _check_file(output: Path, many: bool) -> None:
    """Say what is wrong with the name of a result before the work is done."""
    if many:
        raise UserError(f"{output} is no folder and there are several photos: make it first")
    if output.suffix.lower() not in WRITTEN_SUFFIXES:
        raise UserError(f"{output}: cannot write this kind: use {', '.join(WRITTEN_SUFFIXES)}")
    if not output.parent.is_dir():
        raise UserError(f"{output}: there is no folder {output.parent}: make it first")


def _foreign(item: _Found, output: Path | None, as_file: bool) -> str | None:
    """Why a file of a folder is not for this run, or None."""
    if not is_image(item.path):
        return "not a JPEG, PNG, WebP, TIFF or BMP file"
    inside = output is not None and not as_file and output.resolve() != item.base.resolve()
    if item.path.stem.endswith(MARK) or (
        inside and output is not None and output.resolve() in item.path.resolve().parents
    ):
        return "a result of an earlier run"
    return None


def _target(item: _Found, output: Path | None, as_file: bool) -> Path:
    if output is None:
        return item.path.with_name(item.path.stem + MARK + RESULT_SUFFIX)
    if as_file:
        return output
    return output / item.path.relative_to(item.base).with_suffix(RESULT_SUFFIX)
