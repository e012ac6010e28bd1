"""Frozen features in which restorations are compared: phi_l of CPL's contrastive regularisation.

An extractor turns y_BCHW, RGB around [0, 1], into one feature map per layer, fine to coarse, and
says with `layer_weights` what lambda_l each layer has. Nothing in it learns; the gradient passes
through to y. `FilterBank` needs no file; the features of CPL's authors are VGG's, which cannot be
bundled: `Vgg16Features` reads them from the user's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cpl_edge.errors import UserError
from cpl_edge.models.published import read_tensors

LAYER_WEIGHTS = (0.2, 0.3, 0.5)
"""lambda_l of an earlier work of CPL's authors, for relu1_2, relu2_2, relu3_3; CPL gives none."""


class FeatureExtractor(Protocol):
    """What `contrastive.py` needs of an extractor."""

    @property
    def layer_weights(self) -> Sequence[float]:
        """lambda_l, one per layer."""

    def __call__(self, y_BCHW: Tensor, /) -> Sequence[Tensor]:
        """phi_l(y), one feature map per layer."""


class FilterBank(nn.Module):
    """Random filters at three scales: full, half and quarter size. The default (inferred here).

    Each scale is one 3x3 convolution and a ReLU on what the scale above gave, averaged 2x2. The
    filters are orthogonal, drawn once from a fixed seed, so every machine has the same ones. Their
    biases keep features from vanishing where an image is flat: a direction is taken of them.

    Height and width of an image must be at least 4.
    """

    layer_weights = LAYER_WEIGHTS

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(20_250)
        self.layers = nn.ModuleList()
        for dim_in, dim_out in ((3, 16), (16, 32), (32, 64)):
            # Without the usual initialisation, which draws from the global generator.
            with torch.device("meta"):
                layer = nn.Conv2d(dim_in, dim_out, 3, padding=1)
            layer.to_empty(device="cpu")
            assert layer.bias is not None
            # 2: a ReLU halves the power.
            nn.init.orthogonal_(layer.weight, gain=2**0.5, generator=generator)
            nn.init.uniform_(layer.bias, -0.5, 0.5, generator=generator)
            self.layers.append(layer)
        self.requires_grad_(False)

    def forward(self, y_BCHW: Tensor) -> list[Tensor]:
        h_BCHW = 2 * y_BCHW - 1
        features = []
        for index, layer in enumerate(self.layers):
            h_BCHW = F.relu(layer(F.avg_pool2d(h_BCHW, 2) if index else h_BCHW))
            features.append(h_BCHW)
        return features


class Vgg16Features(nn.Module):
    """relu1_2, relu2_2 and relu3_3 of torchvision's VGG16 (Simonyan and Zisserman, ICLR 2015).

    Height and width of an image must be at least 4.

    Args:
        path: state dict of ``torchvision.models.vgg16``, as torchvision publishes it.

    Raises:
        UserError: the file cannot be read, or is not VGG16's.
    """

    layer_weights = LAYER_WEIGHTS
    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        dim = 3
        with torch.device("meta"):  # the weights come from the file
            for width in (64, 64, None, 128, 128, None, 256, 256, 256):
                if width is None:
                    layers.append(nn.MaxPool2d(2))
                else:
                    layers += [nn.Conv2d(dim, width, 3, padding=1), nn.ReLU()]
                    dim = width
        # Counted as torchvision counts them, so that the names of the weights are the same.
        self.features = nn.Sequential(*layers)
        self._load(path)
        self.requires_grad_(False)
        # ImageNet's mean and deviation, which VGG was trained with.
        self.register_buffer("mean_C11", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std_C11", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def _load(self, path: Path) -> None:
        found = read_tensors(path)
        for name, own in self.state_dict().items():
            if name not in found or found[name].shape != own.shape:
                problem = f"has shape {tuple(found[name].shape)}" if name in found else "is missing"
                raise UserError(f"{path} is not torchvision's VGG16: {name} {problem}")
        state = {name: found[name].float() for name in self.state_dict()}
        self.load_state_dict(state, assign=True)

    def forward(self, y_BCHW: Tensor) -> list[Tensor]:
        h_BCHW = (y_BCHW - self.mean_C11) / self.std_C11
        features = []
        for block in (self.features[:4], self.features[4:9], self.features[9:]):
            h_BCHW = block(h_BCHW)
            features.append(h_BCHW)
        return features
