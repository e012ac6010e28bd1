"""Check an APK without a phone, as far as that can be done.

    python3 check_apk.py APK --platform android-all.jar --oldest proguard.log --models s.tflite

Each check prints a line; the first that fails ends with exit code 1. Python's own library and
Debian's aapt2, zipalign, apksigner and dexdump are all it needs.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "cpledge.app"
ABIS = ("arm64-v8a", "x86_64")
MACHINES = {"arm64-v8a": 0xB7, "x86_64": 0x3E}  # ELF e_machine

# Newer than minSdk; every use is behind a check of SDK_INT.
GUARDED = {
    "android.graphics.BitmapFactory$Options.inPreferredColorSpace",
    "android.graphics.ColorSpace",
    "android.graphics.ColorSpace$Named",
    "android.os.PowerManager.getCurrentThermalStatus",
    "android.os.Build.SOC_MANUFACTURER",
    "android.os.Build.SOC_MODEL",
    "android.content.Intent.getParcelableExtra",
}


class Failed(Exception):
    """A check that did not pass; the message says why."""


def main() -> int:
    """Run all checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("apk", type=Path)
    parser.add_argument("--platform", type=Path, nargs="+", required=True, help="jars and jmods")
    parser.add_argument("--oldest", type=Path, required=True, help="linker's log for minSdk")
    parser.add_argument("--min-sdk", default="24")
    parser.add_argument("--target-sdk", default="36")
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    checks = (
        ("signature", lambda: check_signature(given.apk, given.min_sdk)),
        ("alignment", lambda: run("zipalign", "-c", "-p", "4", str(given.apk)) and "4 bytes"),
        ("manifest", lambda: check_manifest(given.apk, given.min_sdk, given.target_sdk)),
        ("native libraries", lambda: check_libraries(given.apk)),
        ("models", lambda: check_models(given.apk, given.models)),
        ("dex", lambda: check_dex(given.apk)),
        ("references", lambda: check_references(given.apk, given.platform)),
        ("native methods", lambda: check_natives(given.apk)),
        (f"Android API {given.min_sdk}", lambda: check_oldest(given.oldest)),
    )
    for name, check in checks:
        try:
            print(f"  ok  {name}: {check()}")
        except Failed as error:
            print(f"FAIL  {name}: {error}")
            return 1
    return 0


def run(*words: str) -> str:
    """Output of a tool."""
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Failed(f"{words[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout or "done"


def check_signature(apk: Path, min_sdk: str) -> str:
    """Signed with schemes that every supported version of Android takes."""
    text = run("apksigner", "verify", "--verbose", "--min-sdk-version", min_sdk, str(apk))
    schemes = [s for s in ("v2", "v3") if re.search(rf"Verified using {s} .*: true", text)]
    if "v2" not in schemes:
        raise Failed("no v2 signature")
    return " and ".join(schemes)


def check_manifest(apk: Path, min_sdk: str, target_sdk: str) -> str:
    """Package, versions, no permission at all, nothing exported but the main activity."""
    badging = run("aapt2", "dump", "badging", str(apk))
    for wanted in (
        f"package: name='{PACKAGE}'",
        f"'{min_sdk}'",
        f"targetSdkVersion:'{target_sdk}'",
    ):
        if wanted not in badging:
            raise Failed(f"{wanted} is not in the badging")
    permissions = re.findall(r"uses-permission[^\n]*", badging)
    if permissions:
        raise Failed(f"asks for {permissions}")
    if f"launchable-activity: name='{PACKAGE}.MainActivity'" not in badging:
        raise Failed("cannot be launched")
    tree = run("aapt2", "dump", "xmltree", "--file", "AndroidManifest.xml", str(apk))
    exported = len(re.findall(r"android:exported\S*=true", tree))
    if exported != 1 or "debuggable" in tree:
        raise Failed(f"{exported} components are exported, or it is debuggable")
    return f"API {min_sdk} to {target_sdk}, no permissions, one exported activity"


def check_libraries(apk: Path) -> str:
    """The same libraries for each ABI, each built for it."""
    sets = {}
    with zipfile.ZipFile(apk) as archive:
        for abi in ABIS:
            names = [n for n in archive.namelist() if n.startswith(f"lib/{abi}/")]
            for name in names:
                head = archive.read(name)[:20]
                if head[:4] != b"\x7fELF" or head[18] != MACHINES[abi]:
                    raise Failed(f"{name} is not built for {abi}")
            sets[abi] = {Path(name).name for name in names}
        others = {n.split("/")[1] for n in archive.namelist() if n.startswith("lib/")} - set(ABIS)
    if others or not sets[ABIS[0]] or sets[ABIS[0]] != sets[ABIS[1]]:
        raise Failed(f"unequal: {sets}, other ABIs: {others}")
    return f"{', '.join(sorted(sets[ABIS[0]]))} for {' and '.join(ABIS)}"


def check_models(apk: Path, models: list[Path]) -> str:
    """The given models and no others, byte by byte, stored uncompressed."""
    with zipfile.ZipFile(apk) as archive:
        found = {
            i.filename: i for i in archive.infolist() if i.filename.startswith("assets/builds/")
        }
        wanted = {f"assets/builds/{model.name}" for model in models}
        if set(found) != wanted:
            raise Failed(f"holds {sorted(found)} instead of {sorted(wanted)}")
        for model in models:
            item = found[f"assets/builds/{model.name}"]
            if item.compress_type != zipfile.ZIP_STORED:
                raise Failed(f"{model.name} is compressed, so it cannot be opened in place")
            inside = hashlib.sha256(archive.read(item)).hexdigest()
            if inside != hashlib.sha256(model.read_bytes()).hexdigest():
                raise Failed(f"{model.name} differs from the given file")
    return ", ".join(f"{model.name} ({model.stat().st_size} bytes)" for model in models)


def check_dex(apk: Path) -> str:
    """A dex whose checksum is right and which needs nothing that old runtimes lack."""
    run("dexdump", "-c", str(apk))
    text = run("dexdump", "-d", str(apk))
    if "invoke-custom" in text or "invoke-polymorphic" in text:
        raise Failed("has an instruction that Android before API 26 lacks")
    # Java 9 gave buffers methods that return their own type; old runtimes have those of Buffer.
    newer = re.findall(
        r"(Ljava/nio/\w+Buffer;\.(?:rewind|flip|clear|position|limit|mark|reset))"
        r":\([^)]*\)(?!Ljava/nio/Buffer;)(?!I\b)",
        text,
    )
    if newer:
        raise Failed(f"calls {sorted(set(newer))} as Java 9 has them")
    return f"{len(re.findall('Class descriptor', text))} classes"


def check_references(apk: Path, platform: list[Path]) -> str:
    """Every type that the dex names is in it or in the platform."""
    text = run("dexdump", "-d", str(apk))
    inside = set(re.findall(r"Class descriptor  : '(L[^']+;)'", text))
    named = set(re.findall(r"L[A-Za-z0-9_$/]+;", "\n".join(_code(text))))
    outside = set()
    for path in platform:  # a jmod is a zip file behind a short head
        with zipfile.ZipFile(path) as jar:
            names = {n.removeprefix("classes/") for n in jar.namelist() if n.endswith(".class")}
        outside |= {f"L{n[:-6]};" for n in names if not n.startswith(_SINCE_26)}
    missing = sorted(t for t in named - inside - outside if not t.startswith(_ANNOTATIONS))
    if missing:
        raise Failed(f"nobody has {', '.join(missing)}")
    return f"{len(named)} types named, all there"


_SINCE_26 = ("java/time/", "java/nio/file/", "java/lang/invoke/")
_ANNOTATIONS = ("Lorg/jetbrains/annotations/", "Lorg/checkerframework/")


def _code(text: str) -> list[str]:
    """Lines that name types: instructions, superclasses, interfaces, signatures."""
    shapes = ("|", "Superclass", "type ", "#", "Interfaces")
    return [line for line in text.splitlines() if any(shape in line for shape in shapes)]


def check_natives(apk: Path) -> str:
    """Every native method has its symbol in the library of each ABI."""
    text = run("dexdump", str(apk))
    wanted = set()
    owner = name = ""
    for line in text.splitlines():
        if match := re.search(r"Class descriptor  : 'L([^']+);'", line):
            owner = match[1]
        elif match := re.search(r"name          : '([^']+)'", line):
            name = match[1]
        elif "access" in line and " NATIVE" in line:
            escaped = (part.replace("_", "_1").replace("$", "_00024") for part in (owner, name))
            wanted.add("Java_" + "_".join(escaped).replace("/", "_"))
    with zipfile.ZipFile(apk) as archive:
        for abi in ABIS:
            libraries = b"".join(
                archive.read(n) for n in archive.namelist() if n.startswith(f"lib/{abi}/")
            )
            missing = sorted(
                symbol for symbol in wanted if symbol.encode() + b"\0" not in libraries
            )
            if missing:
                raise Failed(f"{abi} lacks {', '.join(missing)}")
    if not wanted:
        raise Failed("there are no native methods, so no engine")
    return f"{len(wanted)} methods, all there"


def check_oldest(log: Path) -> str:
    """What the oldest Android lacks is only what the code asks the version for first."""
    lacking = set()
    for line in log.read_text().splitlines():
        member = re.search(r"can't find referenced \w+ '(.*)' in \w+ class (\S+)", line)
        kind = re.search(r"can't find referenced class (\S+)", line)
        if member:
            name = re.sub(r"\(.*", "", member[1]).split()[-1]
            lacking.add(f"{member[2]}.{name}")
        elif kind:
            lacking.add(kind[1])
    unguarded = sorted(lacking - GUARDED)
    if unguarded:
        raise Failed(f"uses {', '.join(unguarded)}")
    if not lacking:
        raise Failed("the log tells nothing")
    return f"{len(lacking)} newer members, all behind a check of the version"


if __name__ == "__main__":
    sys.exit(main())
