"""Writes the golden files of this folder; golden/README.md says which tool made which.

python tests/profile/write_golden.py [OUT]
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).with_name("golden")
SIZE = (64, 72)


def student():
    """Small, with random weights that use all of its parts."""
    from cpl_edge.models.student import Student, StudentConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = StudentConfig((4, 8), (1, 2, 1), router_widths=(4, 6), router_hidden=8)
        made = Student(config)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if name.endswith(("project.weight", "shift_NC", "tail.bias", "project.bias")):
                    parameter.normal_(0, 0.1)
    return made.eval()


def write_models(out: Path) -> None:
    from cpl_edge.export.targets import TARGETS
    from cpl_edge.runtimes.info import ModelInfo

    net = student()
    for name, target in TARGETS.items():
        if name == "coreml":
            continue
        info = ModelInfo(
            student="golden", target=name, precision="fp32", routing="auto", pinned=None,
            height=SIZE[0], width=SIZE[1], layout=target.layout, halo=net.halo,
            multiple=net.multiple, degradations=net.config.degradations, levels=net.config.levels,
            sites=1, entry_points=("forward", "route", "restore"), digest="0" * 64,
        )  # fmt: skip
        target.convert(target.lower(net, info), out)


def write_onnxruntime(out: Path) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = 1, True
    options.profile_file_prefix = str(out / "raw")
    session = ort.InferenceSession(str(out / "model.onnx"), options)
    x = np.random.default_rng(0).random((1, 3, *SIZE), dtype=np.float32)
    for _ in range(3):
        session.run(["y"], {"x": x})
    raw = Path(session.end_profiling())
    events = json.loads(raw.read_text())
    raw.unlink()
    # Counters of memory are most of the file, and where it lay is nobody's business.
    kept = ("op_name", "node_index", "provider", "input_type_shape", "output_type_shape")
    for event in events:
        event["args"] = {k: v for k, v in event.get("args", {}).items() if k in kept}
    text = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    (out / "onnxruntime.json").write_text(f"[\n{text}\n]\n")


def write_litert(out: Path) -> None:
    from cpl_edge.profile.sources.litert_library import Library

    library = Library(out / "model.tflite", "forward", 1)
    library.profile(warmup=2, runs=1)
    (out / "litert_summary.txt").write_text(library.summary())
    library.close()


def write_etdump(out: Path) -> None:
    """Two runs of ``restore``, as a runner with event tracer writes them; the times are made up."""
    from executorch.devtools.etdump import schema_flatcc as flatcc
    from executorch.devtools.etdump.serialize import serialize_to_etdump_flatcc

    conv, linear = "Convolution (NHWC, F32) IGEMM", "Fully Connected (NC, F32) GEMM"
    block = [(linear, 2), (linear, 2), (conv, 90), ("Multiply (ND)", 9), ("Add (ND)", 8)]
    block += [("Clamp (NC)", 4), (conv, 88), ("Add (ND)", 7)]
    operators = [("Transpose (ND, X32)", 12), (conv, 60), *block, (conv, 40), *block, *block]
    operators += [(conv, 21), ("Transpose (ND, X32)", 11), ("Add (ND)", 6), *block, (conv, 66)]
    operators += [("Transpose (ND, X32)", 13), ("Add (ND)", 5)]

    def event(name, instruction, start, us, identifier=""):
        return flatcc.Event(
            profile_event=flatcc.ProfileEvent(
                name=name, chain_index=0 if instruction >= 0 else -1, instruction_id=instruction,
                delegate_debug_id_str=identifier, delegate_debug_id_int=-1,
                delegate_debug_metadata=b"", start_time=start, end_time=start + us * 1000,
            ),
            allocation_event=None, debug_event=None,
        )  # fmt: skip

    def block_of(name, events):
        return flatcc.RunData(name=name, bundled_input_index=-1, allocators=[], events=events)

    def run(extra):
        clock, events = 1_000_000, []
        for i, (name, us) in enumerate(operators):
            events.append(event("", 0, clock, us + extra, f"{name} #{i + 1}"))
            clock += (us + extra) * 1000
        start, inside = 1_000_000, clock - 1_000_000
        delegate = event("DELEGATE_CALL", 0, start, inside // 1000)
        kernel = event("native_call_topk.values", 1, clock, 31)
        wrapped = event("OPERATOR_CALL", 1, clock, 33)
        whole = event("Method::execute", -1, start, inside // 1000 + 40)
        return block_of("Execute", [*events, delegate, kernel, wrapped, whole])

    load = block_of("Load", [event("Program::load_method", -1, 0, 5200)])
    dump = flatcc.ETDumpFlatCC(version=0, run_data=[load, run(0), run(2)])
    content = serialize_to_etdump_flatcc(dump)
    (out / "etdump.etdp").write_bytes(struct.pack("<I", len(content)) + content)  # as runners do


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_models(out)
    write_onnxruntime(out)
    write_litert(out)
    write_etdump(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
