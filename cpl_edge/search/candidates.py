"""Lists of candidates, written as TOML: what is compared, on which budget, and how it is measured.

A list is a file ``benchmarks/search-*.toml``, or any ``.toml`` file of the user; docs/search.md
explains the keys. A candidate is a training recipe, of a student or of a teacher, that differs in a
few words from the list's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from cpl_edge.data.degradations import KINDS
from cpl_edge.recipe import Table, explain, nearest, read_toml
from cpl_edge.train.recipe import StudentRecipe, TeacherRecipe

Seeds = Annotated[tuple[int, ...], Field(min_length=1)]
SHARED = ("network", "steps", "folders", "layout", "holdout")
"""Words of a recipe that all candidates have in common: kind of network, budget and images."""
RECIPES: dict[str, type[StudentRecipe] | type[TeacherRecipe]] = {
    "student": StudentRecipe,
    "teacher": TeacherRecipe,
}


class Condition(Table):
    """One way in which the held-out crops are degraded.

    Attributes:
        label: column heading, unique in the list.
        degradation: of :data:`cpl_edge.data.degradations.KINDS`, or several joined by ``+``.
        sigma: of noise, instead of a drawn one; in units of 1/255, for ``noise`` alone.
        seen: whether training shows it; candidates are ranked by the mean over those.
        input: folder of degraded images below the data folder, instead of made ones.
        target: folder of their clean counterparts, with the same names.
    """

    label: Annotated[str, Field(min_length=1)]
    degradation: str
    sigma: Annotated[float, Field(gt=0, le=255)] | None = None
    seen: bool = True
    input: str | None = None
    target: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Condition:
        for name in self.degradation.split("+"):
            if name not in KINDS:
                raise ValueError(f"no degradation {name!r}: {nearest(name, KINDS)}")
        if self.sigma is not None and self.degradation != "noise":
            raise ValueError(f"sigma is for noise, not for {self.degradation}")
        if (self.input is None) != (self.target is None):
            raise ValueError("input and target belong together: give both or neither")
        return self


class Candidate(Table):
    """One candidate.

    Attributes:
        name: unique in the list; run folders are called after it.
        about: what it is, for the reader of the table.
        recipe: words of a recipe instead of the list's; ``shape`` is merged with it.
        seeds: instead of the list's.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9.-]*$")]
    about: str = ""
    recipe: dict[str, Any] = Field(default_factory=dict)
    seeds: Seeds | None = None


@dataclass(frozen=True)
class Planned:
    """One training: a candidate with one seed."""

    candidate: str
    recipe: StudentRecipe | TeacherRecipe

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.candidate}-{self.recipe.seed}"


class CandidateList(Table):
    """One list.

    Attributes:
        name: unique name; files of results are called after it.
        about: one line above the table.
        seeds: of every candidate, best first: all candidates are trained with the first seed
            before any is with the second.
        images: how many of the held-out images are measured; 0 takes all.
        side: of the crop from the middle of each in pixels, a multiple of 16.
        recipe: words of a recipe that all candidates share; a student's unless its ``network`` is
            ``teacher``.
        conditions: how the crops are degraded.
        candidates: what is compared.
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9.-]*$")]
    about: str
    seeds: Seeds
    images: Annotated[int, Field(ge=0)] = 0
    side: Annotated[int, Field(ge=32, multiple_of=16)] = 192
    recipe: dict[str, Any] = Field(default_factory=dict)
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)]
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> CandidateList:
        for what, names in (
            ("candidates are called", [candidate.name for candidate in self.candidates]),
            ("conditions have the label", [condition.label for condition in self.conditions]),
        ):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two {what} {twice[0]!r}: make them unique")
        if not any(condition.seen for condition in self.conditions):
            raise ValueError("no condition is 'seen': candidates are ranked by those")
        shared = self.shared
        if shared.layout:
            raise ValueError("[recipe]: a search trains on folders: leave 'layout' out")
        for planned in self.plan():  # every recipe is checked before any is trained
            for word in SHARED:
                if getattr(planned.recipe, word) != getattr(shared, word):
                    raise ValueError(
                        f"candidate {planned.candidate!r} sets {word!r}, which all share: "
                        "set it in [recipe]"
                    )
        return self

    @property
    def shared(self) -> StudentRecipe | TeacherRecipe:
        """What the candidates have in common."""
        return self._recipe("[recipe]", {}, self.seeds[0])

    def plan(self) -> list[Planned]:
        """All trainings in their order: seed by seed, so that a partial result compares all."""
        orders = [(c, tuple(dict.fromkeys(c.seeds or self.seeds))) for c in self.candidates]
        longest = max(len(seeds) for _, seeds in orders)
        return [
            Planned(c.name, self._recipe(f"candidate {c.name!r}", c.recipe, seeds[turn]))
            for turn in range(longest)
            for c, seeds in orders
            if turn < len(seeds)
        ]

    def _recipe(
        self, place: str, words: dict[str, Any], seed: int
    ) -> StudentRecipe | TeacherRecipe:
        network = self.recipe.get("network", "student")
        if network not in RECIPES:
            raise ValueError(f"[recipe]: no network {network!r}: {nearest(str(network), RECIPES)}")
        kind = RECIPES[network]
        for own in (self.recipe, words):
            if "seed" in own:
                raise ValueError(f"{place}: seeds are given by 'seeds', not in a recipe")
        values = {**self.recipe, **words, "seed": seed}
        if "shape" in self.recipe and isinstance(words.get("shape"), dict):
            values["shape"] = {**self.recipe["shape"], **words["shape"]}
        try:
            recipe = kind.model_validate_json(json.dumps(values, default=str))
        except ValidationError as error:
            raise ValueError(f"{place}: {explain(error, kind)}") from None
        # A quarter, a half, three quarters and the end: what rank agreement is told by.
        return recipe.model_copy(update={"validate_every": max(1, recipe.steps // 4)})


def read_candidates(name_or_path: str) -> CandidateList:
    """Read a shipped list by name (``"search-prompts"``), or a file that ends in ``.toml``.

    Raises:
        UserError: no such list, or a key or value that is not allowed.
    """
    return read_toml(name_or_path, CandidateList, "benchmarks", "list of candidates")
