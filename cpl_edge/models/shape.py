"""Settings of a student: how large it is, what is selected, and what each degradation owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

DEGRADATIONS = ("noise", "blur", "rain", "haze", "lowlight")
Prompt = Literal["levels", "sparse", "soft", "none"]
Statistics = Literal["moments", "mean"]
Part = Literal["encoder", "middle", "decoder"]
Convolution = Literal["head", "encoder", "down", "middle", "up", "decoder", "tail"]
PARTS: tuple[Convolution, ...] = get_args(Convolution)
Own = tuple[str, ...] | Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class StudentConfig:
    """Shape of a student.

    Attributes:
        widths: channels at half and at quarter resolution.
        blocks: residual blocks in the encoder, the middle and the decoder.
        degradations: names of the D degradations, in the order of the router's outputs.
        levels: prompts M that each degradation owns.
        router_widths: channels of the router's two convolutions.
        router_hidden: units of the router's hidden layer.
        prompt: what is selected: ``levels`` (the top-1 degradation's levels by softmax), ``sparse``
            (the top-1 of all prompts with its share of a softmax, as CPL does), ``soft`` (all
            prompts by softmax, as PromptIR does) or ``none`` (no prompts and no router).
        router: statistics that the router pools: ``moments`` or only the ``mean``.
        prompted: parts whose blocks have prompts.
        rank: of what a selected prompt adds to a block's first convolution beside scale and shift.
        own: parts whose convolutions each degradation has for itself, selected with its prompts:
            a photo is restored by one of D sets of them, which costs no time, only space. Names of
            parts, or of single blocks, ``middle.1``; a mapping says it for each degradation, and
            those that own no such part share one.
        down: side of the kernel that halves the resolution, 3, or 2, which reads every pixel once.
            TensorFlow's padding SAME is not torch's where an odd kernel strides over an even image,
            and a LiteRT file pads in an operator of its own then: it takes longer than the kernel.
    """

    widths: tuple[int, int] = (32, 64)
    blocks: tuple[int, int, int] = (2, 2, 2)
    degradations: tuple[str, ...] = DEGRADATIONS
    levels: int = 3
    router_widths: tuple[int, int] = (24, 32)
    router_hidden: int = 48
    prompt: Prompt = "levels"
    router: Statistics = "moments"
    prompted: tuple[Part, ...] = get_args(Part)
    rank: int = 0
    own: Own = ()
    down: Literal[2, 3] = 3

    def __post_init__(self) -> None:
        if len(self.degradations) < 2 or len(set(self.degradations)) != len(self.degradations):
            raise ValueError(
                f"a student needs two or more distinct degradations, got {self.degradations}"
            )
        if min(*self.widths, *self.router_widths, self.levels, self.router_hidden) < 1:
            raise ValueError(f"widths and levels must be positive: {self}")
        if min(*self.blocks, self.rank) < 0:
            raise ValueError(f"blocks and rank cannot be negative: {self}")
        choices = {"prompt": Prompt, "router": Statistics}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in get_args(allowed):
                raise ValueError(f"{name} {value!r}: choose from {', '.join(get_args(allowed))}")
        if self.down not in (2, 3):
            raise ValueError(f"down {self.down}: a kernel of 2 or 3")
        if set(self.prompted) - set(get_args(Part)):
            raise ValueError(f"prompted {self.prompted}: choose from {', '.join(get_args(Part))}")
        self._check_own()
        if self.own and (self.prompt != "levels" or self.rank):
            raise ValueError(
                'own weights are selected with a degradation: prompt = "levels", rank = 0'
            )

    def _check_own(self) -> None:
        owners = self.own if isinstance(self.own, Mapping) else {self.degradations[0]: self.own}
        if set(owners) - set(self.degradations):
            raise ValueError(f"own {dict(owners)}: choose from {', '.join(self.degradations)}")
        if self.own and not any(owners.values()):
            raise ValueError("own names degradations and no part: name some, or leave it out")
        for names in owners.values():
            units = [unit for name in names for unit in self.units_of(name)]
            if len(set(units)) != len(units):
                raise ValueError(f"own {names}: each part or block once")

    def units_of(self, name: str) -> tuple[str, ...]:
        """Which of :attr:`units` make up a part; of a block, itself.

        Raises:
            ValueError: there is no such part or block.
        """
        units = tuple(unit for unit in self.units if name in (unit, unit.split(".")[0]))
        if not units and name not in PARTS:
            raise ValueError(
                f"own {name!r}: choose from {', '.join(PARTS)}, or one of their blocks, as middle.1"
            )
        return units

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the convolutions and blocks that an image passes, as ``middle.1``, in order."""
        return tuple(
            f"{part}.{i}" if part in self.counts else part
            for part in PARTS
            for i in range(self.counts.get(part, 1))
        )

    @property
    def counts(self) -> dict[str, int]:
        """Blocks of the parts that have some."""
        return dict(zip(("encoder", "middle", "decoder"), self.blocks, strict=True))

    def owned(self, degradation: int) -> frozenset[str]:
        """Which of :attr:`units` a degradation, given by its index, has for itself."""
        names = self.own
        if isinstance(names, Mapping):
            names = names.get(self.degradations[degradation], ())
        return frozenset(unit for name in names for unit in self.units_of(name))

    @property
    def owned_parts(self) -> tuple[str, ...]:
        """Parts of which some degradation has convolutions of its own."""
        units = {unit for d in range(len(self.degradations)) for unit in self.owned(d)}
        return tuple(part for part in PARTS if units & set(self.units_of(part)))

    @property
    def prompts(self) -> int:
        """Number N of prompts."""
        return 0 if self.prompt == "none" else len(self.degradations) * self.levels

    @property
    def outputs(self) -> int:
        """Number L of the router's outputs: D + N with ``levels``, else N."""
        return self.prompts + (len(self.degradations) if self.prompt == "levels" else 0)

    @property
    def exported(self) -> bool:
        """Whether model files can be made of such a student."""
        return self.prompt == "levels" and self.router == "moments" and not self.rank

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudentConfig:
        """Read what :meth:`to_dict` wrote (JSON turns tuples into lists)."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown student settings {sorted(unknown)}; known: {sorted(known)}")
        plain: dict[str, Any] = {k: _tuples(v) for k, v in values.items()}
        return cls(**plain)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
