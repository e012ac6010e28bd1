import json
import pickle
from pathlib import Path

import pytest
import torch

from cpl_edge.errors import UserError
from cpl_edge.models.promptir import PromptIRConfig
from cpl_edge.models.published import (
    configuration,
    convert,
    main,
    map_tensors,
    read_tensors,
    their_name,
)
from cpl_edge.models.teachers import load_teacher

NEVER_RUN = {
    "chnl_reduce1.weight": (64, 64, 1, 1),
    "chnl_reduce2.weight": (128, 128, 1, 1),
    "chnl_reduce3.weight": (256, 320, 1, 1),
    "reduce_noise_channel_1.weight": (48, 112, 1, 1),
    "reduce_noise_channel_2.weight": (96, 224, 1, 1),
    "reduce_noise_channel_3.weight": (192, 448, 1, 1),
}
SMALL = PromptIRConfig(
    dim=8, blocks=(1, 2, 1, 1), refinement=1, prompt="spm", prompts=3, prompt_channels=(16, 8, 4)
)


def block(name, dim, heads):
    hidden = int(dim * 2.66)
    return {
        f"{name}.norm1.body.weight": (dim,),
        f"{name}.norm1.body.bias": (dim,),
        f"{name}.attn.temperature": (heads, 1, 1),
        f"{name}.attn.qkv.weight": (3 * dim, dim, 1, 1),
        f"{name}.attn.qkv_dwconv.weight": (3 * dim, 1, 3, 3),
        f"{name}.attn.project_out.weight": (dim, dim, 1, 1),
        f"{name}.norm2.body.weight": (dim,),
        f"{name}.norm2.body.bias": (dim,),
        f"{name}.ffn.project_in.weight": (2 * hidden, dim, 1, 1),
        f"{name}.ffn.dwconv.weight": (2 * hidden, 1, 3, 3),
        f"{name}.ffn.project_out.weight": (dim, hidden, 1, 1),
    }


def site(number, dim_in, dim_out, channels, size, prompts):
    return {
        f"prompt{number}.prompt_param": (1, prompts, channels, size, size),
        f"prompt{number}.linear_layer.weight": (prompts, dim_in),
        f"prompt{number}.linear_layer.bias": (prompts,),
        f"prompt{number}.conv3x3.weight": (channels, channels, 3, 3),
        **block(f"noise_level{number}", dim_in + channels, 4),
        f"reduce_noise_level{number}.weight": (dim_out, dim_in + channels, 1, 1),
    }


def authors(config=None, prompts=5, never_run=False):
    """Names and shapes of the authors' networks, written out and not derived from ours."""
    config = config or PromptIRConfig()
    d, (b1, b2, b3, b4), (c3, c2, c1) = config.dim, config.blocks, config.prompt_channels
    s3, s2, s1 = config.prompt_sizes

    def level(name, count, dim, heads):
        return {k: v for i in range(count) for k, v in block(f"{name}.{i}", dim, heads).items()}

    return {
        "patch_embed.proj.weight": (d, 3, 3, 3),
        **level("encoder_level1", b1, d, 1),
        "down1_2.body.0.weight": (d // 2, d, 3, 3),
        **level("encoder_level2", b2, 2 * d, 2),
        "down2_3.body.0.weight": (d, 2 * d, 3, 3),
        **level("encoder_level3", b3, 4 * d, 4),
        "down3_4.body.0.weight": (2 * d, 4 * d, 3, 3),
        **level("latent", b4, 8 * d, 8),
        **site(3, 8 * d, 4 * d, c3, s3, prompts),
        "up4_3.body.0.weight": (8 * d, 4 * d, 3, 3),
        "reduce_chan_level3.weight": (4 * d, 6 * d, 1, 1),
        **level("decoder_level3", b3, 4 * d, 4),
        **site(2, 4 * d, 4 * d, c2, s2, prompts),
        "up3_2.body.0.weight": (8 * d, 4 * d, 3, 3),
        "reduce_chan_level2.weight": (2 * d, 4 * d, 1, 1),
        **level("decoder_level2", b2, 2 * d, 2),
        **site(1, 2 * d, 2 * d, c1, s1, prompts),
        "up2_1.body.0.weight": (4 * d, 2 * d, 3, 3),
        **level("decoder_level1", b1, 2 * d, 1),
        **level("refinement", config.refinement, 2 * d, 1),
        "output.weight": (3, 2 * d, 3, 3),
        **(NEVER_RUN if never_run else {}),
    }


def stub(shapes):
    """Tensors of these shapes that share one element each, so that a file of them is small."""
    return {k: torch.zeros(1).expand(shape) for k, shape in shapes.items()}


def filled(shapes):
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(shape, generator=generator) for k, shape in shapes.items()}


def small():
    return filled(authors(SMALL, prompts=3))


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_the_table_of_names_is_whole():
    """The parameter counts of the authors' files."""
    count = {n: sum(map(torch.Size.numel, map(torch.Size, authors(prompts=n).values())))
             for n in (3, 5, 7, 8)}  # fmt: skip
    assert count == {3: 34_425_345, 5: 35_376_967, 7: 36_328_589, 8: 36_804_400}
    assert sum(torch.Size(shape).numel() for shape in NEVER_RUN.values()) == 215_296


# -- whole files ------------------------------------------------------------------------------


def test_a_lightning_checkpoint_of_promptir(tmp_path, capsys):
    state = {f"net.{k}": v for k, v in stub(authors(never_run=True)).items()}
    torch.save(
        {"epoch": 119, "global_step": 5, "state_dict": state, "callbacks": {}, "loops": None},
        tmp_path / "model.ckpt",
    )
    out, report = tmp_path / "new" / "promptir.safetensors", tmp_path / "report.json"
    assert run(tmp_path / "model.ckpt", "-o", out, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "PromptIR, 5 prompts: 542 tensors, 35,376,967 parameters" in printed
    for name in NEVER_RUN:
        assert f"unused: {name} (the authors' network never runs it)" in printed
    assert printed.count("unused:") == 6
    assert "missing" not in printed
    assert json.loads(report.read_text())["unused"] == list(NEVER_RUN)
    assert load_teacher(out).config == PromptIRConfig()


@pytest.mark.parametrize("prompts", [3, 5])
def test_a_basicsr_file_of_cpl(tmp_path, capsys, prompts):
    """The averaged weights are taken, and the number of prompts is the file's."""
    state = stub(authors(prompts=prompts))
    averaged = {**state, "output.weight": torch.full((3, 96, 3, 3), 0.5)}
    path, out = tmp_path / "CPLIR.pth", tmp_path / "cpl.safetensors"
    torch.save({"params": state, "params_ema": averaged}, path)
    assert run(path, "-o", out) == 0
    assert f"CPL, {prompts} prompts: 542 tensors" in capsys.readouterr().out
    teacher = load_teacher(out)
    assert teacher.config == PromptIRConfig(prompt="spm", prompts=prompts)
    assert (teacher.head.weight == 0.5).all()
    assert not teacher.embed.weight.any()


def test_the_network_can_be_named():
    """CPL's published names have no mark of their own."""
    tensors = stub(authors(prompts=4))
    assert configuration(tensors) == PromptIRConfig(prompt="spm", prompts=4)
    assert configuration(tensors, "promptir") == PromptIRConfig(prompts=4)
    with pytest.raises(UserError, match="'dppd'; there are promptir, cpl"):
        configuration(tensors, "dppd")


# -- where each tensor lands ------------------------------------------------------------------


def test_every_tensor_lands_once_and_fits():
    theirs = small()
    mapped = map_tensors(theirs, SMALL)
    assert (mapped.unused, mapped.missing, mapped.misshapen) == ([], [], [])

    def sums(tensors):
        return sorted(t.double().sum().item() for t in tensors.values())

    assert sums(mapped.state) == sums(theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("embed.weight", "patch_embed.proj.weight"),
        ("encoder2.1.attention_norm.bias", "encoder_level2.1.norm1.body.bias"),
        ("encoder2.1.feedforward_norm.bias", "encoder_level2.1.norm2.body.bias"),
        ("down2.0.weight", "down2_3.body.0.weight"),
        ("latent.0.attention.temperature", "latent.0.attn.temperature"),
        ("latent.0.attention.qkv.0.weight", "latent.0.attn.qkv.weight"),
        ("latent.0.attention.qkv.1.weight", "latent.0.attn.qkv_dwconv.weight"),
        ("latent.0.attention.out.weight", "latent.0.attn.project_out.weight"),
        ("latent.0.feedforward.expand.0.weight", "latent.0.ffn.project_in.weight"),
        ("latent.0.feedforward.expand.1.weight", "latent.0.ffn.dwconv.weight"),
        ("latent.0.feedforward.out.weight", "latent.0.ffn.project_out.weight"),
        ("site3.theta_NCSS", "prompt3.prompt_param"),
        ("site3.router.bias", "prompt3.linear_layer.bias"),
        ("site2.conv.weight", "prompt2.conv3x3.weight"),
        ("site1.fuse.attention_norm.weight", "noise_level1.norm1.body.weight"),
        ("site1.reduce.weight", "reduce_noise_level1.weight"),
        ("up3.0.weight", "up4_3.body.0.weight"),
        ("up1.0.weight", "up2_1.body.0.weight"),
        ("reduce3.weight", "reduce_chan_level3.weight"),
        ("decoder1.0.feedforward.out.weight", "decoder_level1.0.ffn.project_out.weight"),
        ("refinement.0.attention.out.weight", "refinement.0.attn.project_out.weight"),
        ("head.weight", "output.weight"),
    ],
)
def test_where_a_tensor_lands(ours, theirs):
    tensors = small()
    landed = map_tensors(tensors, SMALL).state[ours]
    assert torch.equal(landed, tensors[theirs].reshape(landed.shape))
    assert their_name(ours) == theirs


def test_half_precision_becomes_float32():
    theirs = {k: v.half() for k, v in small().items()}
    state = map_tensors(theirs, SMALL).state
    assert {v.dtype for v in state.values()} == {torch.float32}
    assert torch.equal(state["head.weight"], theirs["output.weight"].float())


@pytest.mark.parametrize("prefix", ["net.", "module.", "_orig_mod.", "module._orig_mod.", "net_g."])
def test_wrappers_before_the_names_are_dropped(tmp_path, prefix):
    torch.save({prefix + k: v for k, v in small().items()}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth").keys() == small().keys()


# -- what does not fit ------------------------------------------------------------------------


def test_extra_missing_and_misshapen_weights_are_listed():
    theirs = small()
    del theirs["prompt2.linear_layer.bias"], theirs["latent.0.attn.temperature"]
    theirs["var_conv.0.weight"] = torch.zeros(1)
    theirs["output.weight"] = torch.zeros(1, 16, 3, 3)
    theirs["prompt1.prompt_param"] = torch.zeros(3, 4, 64, 64)  # without the leading axis
    mapped = map_tensors(theirs, SMALL)
    assert mapped.unused == ["var_conv.0.weight"]
    assert set(mapped.missing) == {"prompt2.linear_layer.bias", "latent.0.attn.temperature"}
    assert set(mapped.misshapen) == {
        ("output.weight", (1, 16, 3, 3), (3, 16, 3, 3)),
        ("prompt1.prompt_param", (3, 4, 64, 64), (1, 3, 4, 64, 64)),
    }
    assert not {"head.weight", "site1.theta_NCSS", "site2.router.bias"} & mapped.state.keys()


def test_a_network_that_is_not_whole_is_not_written(tmp_path, capsys):
    state = stub(authors())
    del state["down1_2.body.0.weight"]
    state["output.weight"] = torch.zeros(6, 96, 3, 3)
    state["extra"] = torch.zeros(1)
    torch.save({"params": state}, tmp_path / "a.pth")
    assert run(tmp_path / "a.pth", "-o", tmp_path / "b.safetensors") == 2
    printed = capsys.readouterr()
    assert "missing: down1_2.body.0.weight\n" in printed.out
    assert "wrong shape: output.weight is (6, 96, 3, 3), the network needs (3, 96, 3, 3)\n" in (
        printed.out
    )
    assert "unused: extra\n" in printed.out
    assert printed.err.count("\n") == 1
    assert "1 weights are missing and 1 have another shape; nothing was written" in printed.err
    assert not (tmp_path / "b.safetensors").exists()


def test_another_network_is_told_apart(tmp_path):
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=r"neither PromptIR nor CPL: .* 'features\.0\.weight'"):
        convert(tmp_path / "vgg.pth", tmp_path / "b.safetensors")


# -- files that are not to be trusted ---------------------------------------------------------


class Evil:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("place", ["zip", "legacy", "bare pickle"])
def test_code_in_a_file_does_not_run(tmp_path, capsys, place):
    marker, path = tmp_path / "marker", tmp_path / "evil.ckpt"
    content = {"state_dict": {**small(), "net.evil": Evil(marker)}}
    if place == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=place == "zip")
    assert run(path, "-o", tmp_path / "out.safetensors") == 2
    assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "save its state dict alone" in error


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"], ids=["empty", "text", "cut"]
)
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_tensors(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_missing_tensors(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_tensors(tmp_path / "none.ckpt")
    for content in ({"epoch": 3}, [torch.zeros(1)], torch.zeros(3), {"state_dict": {}}):
        torch.save(content, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match="holds no state dict"):
            read_tensors(tmp_path / "a.ckpt")
