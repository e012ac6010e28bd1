"""What a model file says about itself: one JSON string under the key ``cpl_edge``.

Every format keeps it in its own place (TFLite: an entry of ``Model.metadata``; ONNX:
``metadata_props``; ExecuTorch: a constant method; Core ML: user-defined metadata), so a runtime
needs the file alone and no card beside it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from cpl_edge.errors import UserError

FORMAT = 1
"""Version of this description; a file with another one is refused."""

KEY = "cpl_edge"
"""Name of the entry that holds the JSON string."""

Layout = Literal["NCHW", "NHWC"]
Routing = Literal["auto", "split", "told", "pinned"]
ENTRY_POINTS = ("forward", "route", "restore")
_NEEDED = {
    "auto": {"forward"},
    "split": {"route", "restore"},
    "told": {"forward"},
    "pinned": {"forward"},
}


@dataclass(frozen=True)
class ModelInfo:
    """Description of one model file.

    Attributes:
        student: name of the student it was made from.
        target: ``executorch``, ``coreml``, ``litert``, ``onnx``, or ``torch`` for the weights.
        precision: ``fp32``, ``fp16``, ``w8a8``, ...
        routing: ``auto`` (the file routes by itself, if asked to), ``split`` (route and restore
            only), ``told`` (like auto, for one degradation: only its levels are routed) or
            ``pinned`` (one prompt is folded in; nothing to route).
        pinned: the degradation that a told or pinned file is for, or None.
        height: pixels of the input image.
        width: pixels of the input image.
        layout: memory order of images in the file; one image at a time.
        halo: pixels around the core of a tile that the file is given and whose output is dropped.
        multiple: height, width and the origin of a tile are multiples of this.
        degradations: names of the D degradations, in the order of the router's outputs.
        levels: prompts M of each degradation; N = D * M weights select a prompt.
        sites: number S of routed sites.
        entry_points: which of ``forward``, ``route`` and ``restore`` the file has.
        digest: sha256 of the student's safetensors file.
        versions: packages the file was made with.
        channels: order of the three channels.
        range: smallest and largest value of an input image.
        own: whether each degradation has convolutions of its own: the entry point ``restore`` is
            then D functions, ``restore_noise`` and so on, of which the prompt weights choose one
            (an ONNX file chooses by itself).
    """

    student: str
    target: str
    precision: str
    routing: Routing
    pinned: str | None
    height: int
    width: int
    layout: Layout
    halo: int
    multiple: int
    degradations: tuple[str, ...]
    levels: int
    sites: int
    entry_points: tuple[str, ...]
    digest: str
    versions: dict[str, str] = field(default_factory=dict)
    channels: str = "RGB"
    range: tuple[float, float] = (0.0, 1.0)
    own: bool = False

    @property
    def prompts(self) -> int:
        """Number N of prompt weights."""
        return len(self.degradations) * self.levels

    @property
    def functions(self) -> dict[str, str]:
        """Functions of the file and the entry point that each of them serves."""
        served: dict[str, str] = {}
        for entry in self.entry_points:
            names = [restorer(name) for name in self.degradations]
            served |= dict.fromkeys(names if self.own and entry == "restore" else [entry], entry)
        return served

    def to_json(self) -> str:
        """The string that an exporter stores in the model file."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, text: str | None, where: str) -> ModelInfo:
        """Read what :meth:`to_json` wrote.

        Args:
            text: the stored string, or None if the file has no such entry.
            where: name of the file, for the error message.

        Raises:
            UserError: there is no description, it has another version, or it is damaged.
        """
        if text is None:
            raise UserError(
                f"{where} does not describe itself, so it was not made by this product: "
                "make one with python -m cpl_edge.export"
            )
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{where}: its description is no JSON ({error}): export it again"
            ) from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            found = values.get("format") if isinstance(values, dict) else None
            raise UserError(
                f"{where} has a description of version {found!r} and this product reads version "
                f"{FORMAT}: export it again with this version"
            )
        names = {f.name for f in fields(cls)}
        values = {"own": False, **values}  # files that are older than this field
        if missing := sorted(names - set(values)):
            raise UserError(f"{where}: its description lacks {', '.join(missing)}: export it again")
        known = {name: _frozen(values[name]) for name in names}  # later additions are ignored
        for problem in _problems(known):
            raise UserError(f"{where}: its description {problem}: export it again")
        return cls(**known)


def restorer(degradation: str) -> str:
    """Name of the function that restores what one degradation did, where it has its own."""
    return f"restore_{degradation}"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _problems(values: dict[str, Any]) -> list[str]:
    """Say what is wrong with the values of a description."""
    problems = []
    for name in ("student", "target", "precision", "digest"):
        if not isinstance(values[name], str):
            problems.append(f"has no text for {name}")
    for name in ("height", "width", "halo", "multiple", "levels", "sites"):
        least = 0 if name == "halo" else 1
        if type(values[name]) is not int or values[name] < least:
            problems.append(f"says {name} {values[name]!r}, which is no size")
    for name, choices in (("routing", get_args(Routing)), ("layout", get_args(Layout))):
        if values[name] not in choices:
            problems.append(f"says {name} {values[name]!r} instead of {' or '.join(choices)}")
    degradations, entries = values["degradations"], values["entry_points"]
    if not _names(degradations) or len(degradations) < 2:
        problems.append(f"says degradations {degradations!r}, which are no list of names")
    elif values["pinned"] is not None and values["pinned"] not in degradations:
        problems.append(f"says pinned {values['pinned']!r}, which is none of its degradations")
    if not _names(entries) or not entries or set(entries) - set(ENTRY_POINTS):
        problems.append(f"says entry points {entries!r} instead of some of {ENTRY_POINTS}")
    elif missing := sorted(_NEEDED.get(values["routing"], set()) - set(entries)):
        problems.append(f"lacks the entry point {missing[0]!r} that its routing needs")
    if not isinstance(values["own"], bool):
        problems.append(f"says own {values['own']!r} instead of true or false")
    if values["channels"] != "RGB" or values["range"] != (0, 1):
        problems.append("asks for images that are not RGB in [0, 1]")
    if not isinstance(values["versions"], dict):
        problems.append("has no table of versions")
    if not problems and (
        values["height"] % values["multiple"] or values["width"] % values["multiple"]
    ):
        problems.append("says a size that is no multiple of its own multiple")
    return problems


def _names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
