#!/bin/bash
# A signed, aligned, checked APK with the LiteRT engine, without Android Studio, the SDK or Gradle.
#
#   ./build_offline.sh [MODEL.tflite...]       default: the shipped students, ../weights/*.tflite
#
# Needs JDK 17 (with jmods), Maven and Debian's aapt, zipalign, apksigner, dexdump, zip and unzip.
# Everything else comes from Maven Central; versions are those of gradle/libs.versions.toml. The same
# sources as the Gradle build; the other two engines are compiled but not put into the APK.
#
#   OUT=FOLDER    where everything goes, build/offline unless told
#   KEYSTORE=FILE signs with its key "androiddebugkey", password "android"; else a new one each time
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=offline/versions.sh
source offline/versions.sh
out=$(realpath -m "${OUT:-build/offline}")
models=("$@")
if [ ${#models[@]} = 0 ]; then
    shopt -s nullglob
    models=(../weights/*.tflite)
    shopt -u nullglob
fi
[ ${#models[@]} -gt 0 ] || { echo "no model: give a .tflite file, or put one into weights/" >&2; exit 2; }
for tool in java javac mvn aapt2 zipalign apksigner dexdump zip unzip keytool; do
    command -v "$tool" >/dev/null || { echo "there is no $tool: see the head of $0" >&2; exit 2; }
done
rm -rf "$out"
mkdir -p "$out"/{aar,api,res,root/lib,assets/builds}
step() { echo "== $* (${SECONDS} s)"; }

step "libraries and tools"
mvn -q -B -f offline/pom.xml -Dout="$out" "${MAVEN_VERSIONS[@]}" generate-resources
lib=$out/lib
tools=$(cat "$out/tools.classpath")
unzip -qo "$lib/tensorflow-lite.aar" classes.jar 'jni/*' -d "$out/aar"
unzip -qo "$lib/tensorflow-lite-api.aar" classes.jar -d "$out/api"

step "resources"
cp -r app/src/main/assets/. "$out/assets/"
cp "${models[@]}" "$out/assets/builds/"
# Gradle takes the package from build.gradle.kts; aapt2 wants it in the manifest.
sed 's/<manifest /<manifest package="cpledge.app" /' app/src/main/AndroidManifest.xml \
    >"$out/AndroidManifest.xml"
aapt2 compile --dir app/src/main/res -o "$out/resources.zip"
# The platform jar has newer chunks than this aapt2 knows, and needs none of them.
aapt2 link -I "$lib/android-all.jar" --manifest "$out/AndroidManifest.xml" --java "$out/res" \
    -A "$out/assets" --min-sdk-version "$(version minSdk)" --target-sdk-version "$(version targetSdk)" \
    --version-code "$(version appCode)" --version-name "$(version app)" \
    -0 .tflite -0 .onnx -0 .pte -o "$out/unsigned.apk" "$out/resources.zip" \
    2> >(grep -v "Unknown chunk type" >&2 || true)
mkdir "$out/r"
javac --release 8 -Xlint:-options -d "$out/r" "$out/res/cpledge/app/R.java"

step "kotlin"
kotlin() {
    java -Xmx1g -cp "$tools" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect -Werror \
        -Xjdk-release=8 -jvm-target 1.8 -Xlambdas=class -Xsam-conversions=class \
        -Xstring-concat=inline "$@"
}
# All three engines are compiled, the ExecuTorch one against stubs of its API; one is linked below.
kotlin -cp "$lib/android-all.jar:$lib/kotlin-stdlib.jar:$lib/onnxruntime.jar:$out/aar/classes.jar:$out/api/classes.jar:$out/r" \
    -d "$out/app.jar" core/src/main/kotlin app/src/main/kotlin offline/executorch-stubs

step "shrink and link"
jmods=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")/jmods
(cd "$out/r" && zip -qr ../r.jar .)
cat >"$out/proguard.pro" <<END
-injars $out/app.jar(!cpledge/engine/onnx/**,!cpledge/engine/executorch/**,!org/pytorch/**)
-injars $out/r.jar:$out/aar/classes.jar:$out/api/classes.jar(!META-INF/**)
-injars $lib/kotlin-stdlib.jar(!META-INF/**,**.class)
-outjars $out/linked.jar
-target 1.7
-dontobfuscate
-dontoptimize
-keepattributes *
-keep class cpledge.** { *; }
-keep class org.tensorflow.lite.** { *; }
-dontwarn org.jetbrains.annotations.**,org.checkerframework.**
-dontnote **
END
java -Xmx1g -cp "$tools" proguard.ProGuard -libraryjars "$lib/android-all.jar" \
    -libraryjars "$jmods/java.base.jmod(!**.jar;!module-info.class)" \
    -libraryjars "$jmods/java.logging.jmod(!**.jar;!module-info.class)" \
    @"$out/proguard.pro" >"$out/proguard.log" 2>&1 || { cat "$out/proguard.log"; exit 1; }

step "what the oldest Android lacks"
# Linked once more, against that version alone: what it complains of must be guarded in the code.
java -Xmx1g -cp "$tools" proguard.ProGuard -injars "$out/linked.jar" -outjars "$out/oldest.jar" \
    -libraryjars "$lib/android-all-oldest.jar" \
    -libraryjars "$jmods/java.base.jmod(!**.jar;!module-info.class)" \
    -libraryjars "$jmods/java.logging.jmod(!**.jar;!module-info.class)" \
    -dontoptimize -dontobfuscate -keep 'class cpledge.** { *; }' -ignorewarnings -dontnote '**' \
    -dontwarn 'org.jetbrains.annotations.**,org.checkerframework.**' >"$out/oldest.log" 2>&1

step "dex, align, sign"
java -Xmx1g -cp "$tools" com.android.dx.command.Main --dex \
    --min-sdk-version="$(version minSdk)" --output="$out/root/classes.dex" "$out/linked.jar"
for abi in arm64-v8a x86_64; do
    mkdir -p "$out/root/lib/$abi"
    cp "$out/aar/jni/$abi/"*.so "$out/root/lib/$abi/"
done
(cd "$out/root" && zip -q -X -r "$out/unsigned.apk" classes.dex lib)
zipalign -f -p 4 "$out/unsigned.apk" "$out/aligned.apk"
keystore=${KEYSTORE:-$out/debug.keystore}
if [ ! -f "$keystore" ]; then
    keytool -genkeypair -keystore "$keystore" -storepass android -keypass android \
        -alias androiddebugkey -dname CN=Debug -keyalg RSA -keysize 2048 -validity 10000 2>/dev/null
fi
apksigner sign --ks "$keystore" --ks-pass pass:android --ks-key-alias androiddebugkey \
    --min-sdk-version "$(version minSdk)" --out "$out/cpl_edge.apk" "$out/aligned.apk"

step "checks"
python3 offline/check_apk.py "$out/cpl_edge.apk" --platform "$lib/android-all.jar" \
    "$jmods/java.base.jmod" "$jmods/java.logging.jmod" \
    --oldest "$out/oldest.log" --min-sdk "$(version minSdk)" --target-sdk "$(version targetSdk)" \
    --models "${models[@]}"
echo "made $out/cpl_edge.apk in ${SECONDS} s"
