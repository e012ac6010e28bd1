"""python -m cpl_edge.models.published: published PromptIR and CPL weights for this network.

The authors' files cannot be bundled: their licences do not allow it. A user who has one converts
it; it is read with `weights_only=True`, so no code in it runs. Known layouts:

- PromptIR: a Lightning checkpoint, weights under "state_dict", each name after "net.". The network
  holds six 1x1 convolutions that it never runs; they are left out and listed.
- CPL (CPLIR): a BasicSR file, weights under "params" or, averaged and preferred, "params_ema".
- a plain state dict of either; "module." (DataParallel) and "_orig_mod." (torch.compile) before a
  name are dropped.

Only names and shapes of the authors' networks are known here: the tables below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cpl_edge.cli import Debug, Json, verb, write_json
from cpl_edge.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from cpl_edge.models.promptir import PromptIRConfig

# Our names and the authors', of modules and of what a transformer block holds.
_MODULES = {
    "embed": "patch_embed.proj",
    **{f"encoder{level}": f"encoder_level{level}" for level in (1, 2, 3)},
    **{f"down{level}": f"down{level}_{level + 1}.body" for level in (1, 2, 3)},
    "latent": "latent",
    **{f"site{site}.theta_NCSS": f"prompt{site}.prompt_param" for site in (1, 2, 3)},
    **{f"site{site}.router": f"prompt{site}.linear_layer" for site in (1, 2, 3)},
    **{f"site{site}.conv": f"prompt{site}.conv3x3" for site in (1, 2, 3)},
    **{f"site{site}.fuse": f"noise_level{site}" for site in (1, 2, 3)},
    **{f"site{site}.reduce": f"reduce_noise_level{site}" for site in (1, 2, 3)},
    **{f"up{level}": f"up{level + 1}_{level}.body" for level in (1, 2, 3)},
    **{f"reduce{level}": f"reduce_chan_level{level}" for level in (2, 3)},
    **{f"decoder{level}": f"decoder_level{level}" for level in (1, 2, 3)},
    "refinement": "refinement",
    "head": "output",
}
_BLOCK = {
    "attention_norm": "norm1.body",
    "attention.temperature": "attn.temperature",
    "attention.qkv.0": "attn.qkv",
    "attention.qkv.1": "attn.qkv_dwconv",
    "attention.out": "attn.project_out",
    "feedforward_norm": "norm2.body",
    "feedforward.expand.0": "ffn.project_in",
    "feedforward.expand.1": "ffn.dwconv",
    "feedforward.out": "ffn.project_out",
}
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|net\.|net_g\.)+")
_NEVER_RUN = re.compile(r"^(?:chnl_reduce[123]|reduce_noise_channel_[123])\.weight$")


@dataclass(frozen=True)
class Mapped:
    """A checkpoint in our names, and what did not fit.

    Attributes:
        state: our name -> tensor of our shape, float32.
        unused: names in the file that the network has no place for.
        missing: names of the authors' that the network needs and the file lacks.
        misshapen: name of the authors', shape in the file, shape that the network needs.
    """

    state: dict[str, Tensor]
    unused: list[str]
    missing: list[str]
    misshapen: list[tuple[str, tuple[int, ...], tuple[int, ...]]]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the wrappers described above.

    Raises:
        UserError: the file cannot be read without running code in it, or holds no tensors.
    """
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd files; ours follow
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is no checkpoint, or needs code to be read, which is refused: where you trust "
            "it, save its state dict alone with torch.save and give that file"
        ) from None
    except (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
            TypeError, ValueError) as error:  # fmt: skip  # all seen on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}") from None
    for key in ("state_dict", "params_ema", "params"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    tensors = {
        _WRAPPERS.sub("", str(name)): value
        for name, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise UserError(f"{path} holds no state dict: it needs names and tensors")
    return tensors


def their_name(name: str) -> str:
    """The authors' name of one of our weights."""
    ours = max((m for m in _MODULES if f"{name}.".startswith(f"{m}.")), key=len)
    name = f"{_MODULES[ours]}{name.removeprefix(ours)}."
    for ours, theirs in _BLOCK.items():
        name = name.replace(f".{ours}.", f".{theirs}.")
    return name.removesuffix(".")


def configuration(tensors: dict[str, Tensor], network: str | None = None) -> PromptIRConfig:
    """The network that a checkpoint is of, with as many prompts as it holds.

    Args:
        tensors: by the authors' names.
        network: ``"promptir"`` or ``"cpl"``; None for PromptIR if its unused convolutions are
            there, and else CPL: the two differ in nothing else that a file shows.

    Raises:
        UserError: there is no such network.
    """
    from cpl_edge.models.promptir import PRESETS

    if network is None:
        network = "promptir" if any(map(_NEVER_RUN.match, tensors)) else "cpl"
    if network not in ("promptir", "cpl"):
        raise UserError(f"no published network {network!r}; there are promptir, cpl")
    config = PRESETS[network]
    theta = tensors.get("prompt1.prompt_param")
    if theta is not None and theta.ndim == 5:
        config = replace(config, prompts=theta.shape[1])
    return config


def map_tensors(tensors: dict[str, Tensor], config: PromptIRConfig) -> Mapped:
    """Give the authors' tensors our names and shapes.

    Args:
        tensors: by the authors' names.
        config: of our network.
    """
    import torch

    from cpl_edge.models.promptir import PromptIR

    with torch.device("meta"):  # shapes only
        wanted = PromptIR(config).state_dict()
    state: dict[str, Tensor] = {}
    missing: list[str] = []
    misshapen: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    unused = dict.fromkeys(tensors)
    for name, own in wanted.items():
        theirs = their_name(name)
        # The authors' prompts have a leading axis of 1.
        shape = (1, *own.shape) if name.endswith("theta_NCSS") else tuple(own.shape)
        unused.pop(theirs, None)
        if theirs not in tensors:
            missing.append(theirs)
        elif tensors[theirs].shape != shape:
            misshapen.append((theirs, tuple(tensors[theirs].shape), shape))
        else:
            state[name] = tensors[theirs].reshape(own.shape).float()
    return Mapped(state, list(unused), missing, misshapen)


def convert(path: Path, output: Path, network: str | None = None) -> tuple[str, Mapped]:
    """Convert a published checkpoint; nothing is written unless the network is whole.

    Args:
        path: the authors' file.
        output: what `cpl_edge.models.teachers.load_teacher` reads.
        network: see `configuration`.

    Returns:
        The network's name with its number of prompts, and what was mapped.

    Raises:
        UserError: the file cannot be read or is of another network, or output cannot be written.
    """
    from cpl_edge.models.teachers import save_teacher

    tensors = read_tensors(path)
    config = configuration(tensors, network)
    mapped = map_tensors(tensors, config)
    if len(mapped.unused) == len(tensors):
        raise UserError(
            f"{path} is neither PromptIR nor CPL: none of its {len(tensors)} tensors has a known "
            f"name, the first is {mapped.unused[0]!r}"
        )
    if not mapped.missing and not mapped.misshapen:
        save_teacher(config, mapped.state, output)
    return f"{'CPL' if config.prompt == 'spm' else 'PromptIR'}, {config.prompts} prompts", mapped


@verb
def main(
    file: Annotated[Path, typer.Argument(help="The authors' checkpoint.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the weights go, a .safetensors file.")
    ] = Path("cpl.safetensors"),
    network: Annotated[
        str | None, typer.Option(help="promptir or cpl. [told by the file's names]")
    ] = None,
    json_path: Json = None,
    debug: Debug = False,
) -> None:
    """Convert published PromptIR or CPL weights, and list what was unused or missing."""
    from cpl_edge.errors import require

    require("torch", "train")
    title, mapped = convert(file, output, network)
    parameters = sum(value.numel() for value in mapped.state.values())
    print(f"{title}: {len(mapped.state)} tensors, {parameters:,} parameters mapped")
    for name in mapped.unused:
        why = " (the authors' network never runs it)" if _NEVER_RUN.match(name) else ""
        print(f"unused: {name}{why}")
    for name in mapped.missing:
        print(f"missing: {name}")
    for name, found, needed in mapped.misshapen:
        print(f"wrong shape: {name} is {found}, the network needs {needed}")
    write_json(
        json_path,
        {
            "network": title,
            "parameters": parameters,
            "unused": mapped.unused,
            "missing": mapped.missing,
            "wrong_shape": mapped.misshapen,
        },
    )
    if mapped.missing or mapped.misshapen:
        raise UserError(
            f"{file} is no whole network: {len(mapped.missing)} weights are missing and "
            f"{len(mapped.misshapen)} have another shape; nothing was written, give another file"
        )
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
