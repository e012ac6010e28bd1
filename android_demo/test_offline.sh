#!/bin/bash
# All tests that need no phone, without Android Studio, the SDK or Gradle.
#
#   ./test_offline.sh core                  the core, with real inference in ONNX Runtime
#   ./test_offline.sh app [MODEL...]        the app's screens on a desktop JVM (Robolectric), with
#                                           these builds beside two tiny ones
#
# Needs JDK 17 and Maven; for the screens Debian's aapt too. OUT=FOLDER, build/test unless told.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=offline/versions.sh
source offline/versions.sh
out=$(realpath -m "${OUT:-build/test}")
mkdir -p "$out"
mvn=(mvn -q -B -T1 -Dkotlin.compiler.daemon=false "${MAVEN_VERSIONS[@]}")
case ${1:-} in
core)
    "${mvn[@]}" -f core/pom.xml -Dout="$out/core" test
    echo "profile: $out/core/profile.json"
    ;;
app)
    shift
    app=$out/app
    rm -rf "$app"
    mkdir -p "$app"/{gen,screenshots,assets/builds,maven,platform}
    cp -r app/src/main/assets/. "$app/assets/"
    golden=core/src/test/resources/golden
    cp "$golden"/fp32.{onnx,tflite} "$@" "$app/assets/builds/"
    mvn -q -B dependency:copy -Dartifact="org.robolectric:android-all:$(version androidAll)" \
        -DoutputDirectory="$app/platform" -Dmdep.stripVersion=true
    sed 's/<manifest /<manifest package="cpledge.app" /' app/src/main/AndroidManifest.xml \
        >"$app/AndroidManifest.xml"
    aapt2 compile --dir app/src/main/res -o "$app/resources.zip"
    aapt2 link -I "$app/platform/android-all.jar" --manifest "$app/AndroidManifest.xml" \
        --java "$app/gen" -A "$app/assets" --min-sdk-version "$(version minSdk)" \
        --target-sdk-version 34 --version-code 1 --version-name "$(version app)" \
        -0 .tflite -0 .onnx -0 .pte -o "$app/resources.apk" "$app/resources.zip" \
        2> >(grep -v "Unknown chunk type" >&2 || true)
    "${mvn[@]}" -f offline/apptest/pom.xml -Dout="$app" test
    echo "screenshots: $app/screenshots"
    ;;
*)
    sed -n '2,/^set/s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac
