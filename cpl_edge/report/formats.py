"""What this report reads of the files that other verbs write; further keys are ignored.

Latency runs and profiles have schemas of their own (:mod:`cpl_edge.benchmark.schema`,
:mod:`cpl_edge.profile.schema`). A figure that was not measured is None.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Reads the keys it knows, ignores the others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Measured(Part):
    """What every result tells: where and with what it was measured, and when."""

    machine: dict[str, Any]
    versions: dict[str, str] = {}
    date: str | None = None


class Model(Part):
    """The model file that a result is about."""

    file: str = ""
    student: str
    target: str
    precision: str
    routing: str = "auto"
    pinned: str | None = None
    digest: str = ""


class Published(Part):
    """PSNR of a paper by label, or its average alone."""

    method: str
    psnr: dict[str, float] = {}
    average: float | None = None


class Suite(Part):
    """Head of an evaluation."""

    name: str
    about: str = ""
    remark: str = ""
    channels: str = "rgb"
    border: int = 0
    published: tuple[Published, ...] = ()


class Summary(Part):
    """One degradation of a suite: see :class:`cpl_edge.evaluate.rows.Summary`.

    An infinite PSNR, of an image with nothing wrong, was written as null, and so was its gain.
    """

    label: str
    degradation: str
    images: int
    psnr_before: float | None = None
    psnr_after: float | None = None
    gain: float | None = None
    ssim_before: float | None = None
    ssim_after: float | None = None
    lpips_before: float | None = None
    lpips_after: float | None = None
    worst_image: str = ""
    worst_gain: float | None = None
    worst_psnr: float | None = None
    routed: float | None = None
    selected: dict[str, int] = {}
    ms_per_megapixel: float | None = None


class Row(Part):
    """One image of a suite."""

    image: str
    label: str
    degradation: str
    selected: str | None = None
    psnr_after: float | None = None


class Evaluation(Measured):
    """What ``python -m cpl_edge.evaluate --json`` writes."""

    suite: Suite
    model: Model
    degradation: str = "auto"
    threads: int = 1
    limit: int = 0
    passes: int = 1
    notes: tuple[str, ...] = ()
    summary: tuple[Summary, ...]
    rows: tuple[Row, ...] = ()

    def selected(self, summary: Summary) -> dict[str, int]:
        """Images of a degradation by what the network took them for; empty if it was told."""
        if self.degradation != "auto":
            return {}
        chosen = (row.selected for row in self.rows if row.label == summary.label)
        return summary.selected or dict(Counter(name for name in chosen if name))


class Recipe(Part):
    """What a build was asked to be."""

    target: str
    precision: str
    routing: str
    degradation: str | None = None
    size: tuple[int, int] = (256, 256)


class Gate(Part):
    """One check of a build; ``passed`` is None where it could not run."""

    name: str
    figure: float | str | None = None
    limit: float | str | None = None
    passed: bool | None = None
    why: str = ""


class Quality(Part):
    """One degradation of a build's gate crops, PSNR in decibels."""

    input: float | None = None
    student: float | None = None
    build: float | None = None
    drop_mean: float | None = None
    drop_worst: float | None = None


class BuildCard(Measured):
    """What ``python -m cpl_edge.export --json`` writes for each build."""

    student: str
    digest: str = ""
    model: str = ""
    recipe: Recipe
    gates: tuple[Gate, ...]
    refused: tuple[str, ...] = ()
    executed: str = ""
    load_ms: float | None = None
    latency_ms: dict[str, float] = {}
    quality: dict[str, Quality] = {}
    bytes: int | None = None
    entry_points: tuple[str, ...] = ()
    accelerator: str | None = None
    outside: dict[str, list[str]] = {}

    @property
    def name(self) -> str:
        """As the build's folder is called."""
        return build_name(
            self.student,
            self.recipe.target,
            self.recipe.precision,
            self.recipe.routing,
            self.recipe.degradation,
        )

    def gate(self, name: str) -> Gate | None:
        """A gate by its name."""
        return next((gate for gate in self.gates if gate.name == name), None)


class Photo(Measured):
    """What ``python -m cpl_edge.benchmark --photo WIDTHxHEIGHT --json`` writes."""

    model: str
    width: int
    height: int
    tiles: int
    threads: int
    total_seconds: float
    network_seconds: float
    baseline_mb: float
    peak_mb: float

    @property
    def megapixels(self) -> float:
        """Size of the photo."""
        return self.width * self.height / 1e6


class Validation(Part):
    """One degradation of a training's validation, PSNR in decibels."""

    before: float
    after: float


class Point(Part):
    """One validation in a training."""

    step: int
    validation: dict[str, Validation] = {}


class Training(Part):
    """How a student was trained."""

    images: int | None = None
    steps: int | None = None
    seconds: float | None = None
    device: str | None = None
    terms: str = ""
    curve: tuple[Point, ...] = ()
    machine: dict[str, Any] = {}


class StudentCard(Part):
    """``weights/<student>.json``."""

    student: str
    digest: str = ""
    parameters: int
    macs_256x256: int
    training: Training = Training()
    limits: tuple[str, ...] = ()


class PromptSite(Part):
    """One prompt site; rows D are labels, columns G what its router chooses among."""

    name: str
    choices: tuple[str, ...]
    share_DG: tuple[tuple[float, ...], ...]
    entropy_D: tuple[float | None, ...] = ()
    information: float | None = None
    chance: float | None = None
    separation: float | None = None


class Forced(Part):
    """PSNR in decibels with forced prompts; rows D are labels, columns C whose prompts."""

    columns: tuple[str, ...]
    before_D: tuple[float | None, ...]
    routed_D: tuple[float | None, ...]
    forced_DC: tuple[tuple[float | None, ...], ...]
    own_D: tuple[int | None, ...]
    margin_D: tuple[float | None, ...]


class Prompts(Measured):
    """What ``python -m cpl_edge.evaluate --prompts --json`` writes."""

    prompts: str
    kind: str
    suite: Suite
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...]
    images: tuple[int, ...]
    sites: tuple[PromptSite, ...]
    forced: Forced


class Condition(Part):
    """One condition of a search; ``seen`` in training or not."""

    label: str
    seen: bool = True


class CandidateFigures(Part):
    """One condition of one trained candidate, PSNR in decibels."""

    condition: str
    input: float
    routed: float | None = None
    told: float | None = None
    right: float | None = None

    @property
    def psnr(self) -> float | None:
        """Routed by itself; told the degradation where its router learned nothing."""
        return self.told if self.routed is None else self.routed


class CandidateRun(Part):
    """One candidate of a search, trained with one seed."""

    candidate: str
    seed: int
    steps: int
    seconds: float
    parameters: int
    macs: int
    figures: tuple[CandidateFigures, ...]
    latency_ms: dict[str, float] = {}


class Search(Measured):
    """What ``python -m cpl_edge.search`` writes: candidates trained on one budget."""

    name: str
    about: str = ""
    images: int
    crops: int
    side: int
    conditions: tuple[Condition, ...]
    about_candidates: dict[str, str] = {}
    planned: int
    runs: tuple[CandidateRun, ...]


def build_name(
    student: str, target: str, precision: str, routing: str, pinned: str | None = None
) -> str:
    """Name of a build's folder, such as ``s-litert-w8a8-pinned-noise``."""
    return "-".join(filter(None, (student, target, precision, routing, pinned)))


def model_name(model: Model) -> str:
    """The same name for the model file of an evaluation."""
    return build_name(model.student, model.target, model.precision, model.routing, model.pinned)
