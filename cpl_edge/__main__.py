"""cpl-edge VERB ...: one command for all verbs; ``python -m cpl_edge.VERB`` is the same.

Nothing is imported before the verb is known, so that ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import importlib
import sys

from cpl_edge import __version__

VERBS = {
    "restore": "Restore photos, of any size, singly or whole folders.",
    "demo": "Degrade and restore bundled photos; leave pictures and a table.",
    "evaluate": "Measure a suite: PSNR and SSIM per image and degradation.",
    "export": "Build model files for executorch, coreml, litert and onnx.",
    "quantize": "Which precision each target does, and where rounding costs.",
    "data": "Check dataset folders, and pack their images for training.",
    "train": "Train a network from a recipe.",
    "search": "Train candidates for a student on one budget and compare them.",
    "benchmark": "Latency and memory of builds and peers, and of whole photos.",
    "profile": "Where the time goes, by operator and module; imports files from devices.",
    "report": "One page that shows what was measured, as HTML and Markdown.",
}


def usage() -> str:
    """Write the help text: one line a verb.

    Returns:
        The text, ending without a newline.
    """
    lines = ["Usage: cpl-edge VERB [OPTIONS]", "", "Verbs (each has its own --help):"]
    lines += [f"  {name:<9} {summary}" for name, summary in VERBS.items()]
    lines += ["", "Options:", "  --version  Show the version and exit."]
    lines += ["  --help     Show this message and exit."]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Run one verb, and exit with its code; an unknown verb exits with 2.

    Args:
        argv: the words after ``cpl-edge``, default ``sys.argv[1:]``.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h"):
        print(usage())
    elif name == "--version":
        print(f"cpl-edge {__version__}")
    elif name in VERBS:
        importlib.import_module(f"cpl_edge.{name}.__main__").main(rest)
    else:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(VERBS)}"
        print(f"error: no verb {name!r}: {hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
