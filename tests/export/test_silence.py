import os
import subprocess
import sys
import warnings

import pytest

from cpl_edge.export.silence import silence


def talk():
    print("from Python")
    print("an error", file=sys.stderr)
    os.write(1, b"from below\n")
    os.write(2, b"an error below\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    warnings.warn("a warning", stacklevel=1)


def test_nothing_is_heard_meanwhile_and_everything_afterwards(capfd):
    print("before")
    with silence():
        talk()
    print("after")
    os.write(2, b"below\n")
    captured = capfd.readouterr()
    assert captured.out == "before\nafter\n"
    assert captured.err == "below\n"


def test_verbose_lets_everything_through(capfd):
    with silence(False), pytest.warns(match="a warning"):
        talk()
    out, err = capfd.readouterr()
    assert "from Python" in out
    assert "an error below" in err


def test_an_error_is_heard_and_ends_the_silence(capfd):
    with pytest.raises(ValueError, match="inside"), silence():
        raise ValueError("inside")
    print("after")
    assert capfd.readouterr().out == "after\n"
