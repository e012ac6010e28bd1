"""Students that look trained, for the tests of their parts and forms."""

import pytest
import torch

from cpl_edge.models.student import Student, StudentConfig


@pytest.fixture(scope="session")
def trained_like():
    def make(config=None, seed=0):
        """A student none of whose parts is the identity or zero, as after training."""
        small = StudentConfig(widths=(6, 10), router_widths=(5, 7), router_hidden=9)
        student, generator = Student(config or small), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in student.parameters():
                fan_in = max(1, parameter[0].numel())
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * (fan_in**-0.5 if parameter.ndim > 1 else 0.1))
        return student.eval()

    return make


@pytest.fixture(name="student", scope="session")
def a_trained_like_student(trained_like):
    return trained_like()


@pytest.fixture(name="x_BCHW")
def images():
    return torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(1))
