"""A phone by adb: push a build and the runtime's own benchmark binary, run it, pull, import.

The binary is the user's: ``benchmark_model`` of TensorFlow Lite or LiteRT for ``.tflite`` files
(https://ai.google.dev/edge/litert/models/measurement), ``executor_runner`` built with the event
tracer for ``.pte`` files. Nothing here was run on a phone; the dialogue is tested with a stand-in.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cpl_edge.errors import CplEdgeError, UserError
from cpl_edge.profile.importing import import_profile
from cpl_edge.profile.model import Model
from cpl_edge.profile.schema import Device, Profile

FOLDER = "/data/local/tmp/cpl_edge"
NOT_TRIED = "This way over adb was tested with a stand-in for adb only, never with a phone."
_SECONDS = 600  # a benchmark takes half a minute, a push over a slow cable as long
_PROPERTIES = {
    "model": "ro.product.model",
    "manufacturer": "ro.product.manufacturer",
    "android": "ro.build.version.release",
    "abi": "ro.product.cpu.abi",
    "soc": "ro.soc.model",
}


class Adb:
    """The phone that is attached.

    Args:
        program: the adb program.

    Raises:
        UserError: no adb, no phone, several phones, or one that does not trust this machine.
    """

    def __init__(self, program: str = "adb") -> None:
        found = shutil.which(program)
        if found is None:
            raise UserError(
                "there is no adb: install Android's platform-tools, and put them into PATH"
            )
        self._program = found
        self._serial = self._only_phone()

    def _only_phone(self) -> str:
        lines = self._call("devices").splitlines()
        phones = [line.split() for line in lines if re.match(r"^\S+\s+\w+", line)]
        phones = [phone for phone in phones if phone[0] not in ("List", "*")]
        if not phones:
            raise UserError("adb sees no phone: attach one with USB debugging on")
        if len(phones) > 1:
            serials = ", ".join(phone[0] for phone in phones)
            raise UserError(f"adb sees several phones ({serials}): leave only one attached")
        serial, state = phones[0][:2]
        if state != "device":
            raise UserError(
                f"the phone {serial} is {state}: unlock it and allow USB debugging on its screen"
            )
        return serial

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the phone."""
        self._call("-s", self._serial, "push", str(source), target)

    def pull(self, source: str, target: Path) -> None:
        """Copy a file from the phone."""
        self._call("-s", self._serial, "pull", source, str(target))

    def shell(self, *words: str) -> str:
        """Run a command there; the words are quoted for the phone's own shell."""
        return self._call("-s", self._serial, "shell", shlex.join(words))

    def describe(self) -> Device:
        """What the phone says it is."""
        told = {key: self.shell("getprop", name).strip() for key, name in _PROPERTIES.items()}
        name = " ".join(filter(None, (told.pop("manufacturer"), told.pop("model"))))
        return Device(name=name or "unknown", details={k: v for k, v in told.items() if v})

    def _call(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [self._program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CplEdgeError(
                f"adb {' '.join(words[:3])} took more than {_SECONDS} s: attach the phone again"
            ) from error
        except OSError as error:
            raise UserError(f"{self._program} cannot be run ({error.strerror})") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            what = " ".join(words[2:] if words[0] == "-s" else words)
            raise CplEdgeError(f"adb {what[:80]} failed ({done.returncode}): {last}")
        return done.stdout + done.stderr


def profile_on_phone(model: Model, binary: Path, entry: str, threads: int, runs: int) -> Profile:
    """Run a build on the attached phone.

    Args:
        model: a ``.tflite`` or ``.pte`` build.
        binary: the runtime's benchmark program for the phone's processor.
        entry: entry point to call.
        threads: CPU threads there.
        runs: calls.

    Raises:
        UserError: no such program, a build that it cannot run, or no phone.
        CplEdgeError: adb or the program failed.
    """
    assert model.path is not None
    if not binary.is_file():
        raise UserError(f"{binary} does not exist: give the benchmark program with --benchmark")
    if binary.read_bytes()[:4] != b"\x7fELF":
        raise UserError(f"{binary} is no program for Android: build it for the phone's processor")
    suffix = model.path.suffix.lower()
    if suffix not in (".tflite", ".pte"):
        raise UserError(f"{model.path} cannot be run over adb: give a .tflite or a .pte build")
    adb = Adb()
    program, file = f"{FOLDER}/{binary.name}", f"{FOLDER}/{model.path.name}"
    output = f"{FOLDER}/profile.etdp"
    adb.shell("mkdir", "-p", FOLDER)
    try:
        adb.push(binary, program)
        adb.push(model.path, file)
        adb.shell("chmod", "755", program)
        device = adb.describe()
        command = _command(suffix, program, file, output, entry, threads, runs)
        printed = adb.shell(*command)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "adb.txt" if suffix == ".tflite" else "adb.etdp")
            if suffix == ".tflite":
                local.write_text(printed, encoding="utf-8")
            else:
                adb.pull(output, local)
            (profile,) = import_profile(local, model, entry)
    finally:
        adb.shell("rm", "-rf", FOLDER)
    return profile.model_copy(
        update={
            "source": f"adb, {binary.name}",
            "device": device,
            "threads": profile.threads or threads,
            "notes": (*profile.notes, NOT_TRIED),
        }
    )


def _command(
    suffix: str, program: str, file: str, output: str, entry: str, threads: int, runs: int
) -> Sequence[str]:
    if suffix == ".tflite":
        return (
            program,
            f"--graph={file}",
            f"--signature_to_run_for={entry}",
            f"--num_threads={threads}",
            f"--num_runs={runs}",
            "--use_xnnpack=true",
            "--enable_op_profiling=true",
        )
    return (
        program,
        f"--model_path={file}",
        f"--method_name={entry}",
        f"--cpu_threads={threads}",
        f"--num_executions={runs}",
        f"--etdump_path={output}",
    )
