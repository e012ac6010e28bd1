plugins {
    alias(libs.plugins.android.application)
}

// The shipped students, and whatever else of ours lies beside them, without a second copy in git.
val builds = tasks.register<Copy>("copyBuilds") {
    from(rootDir.resolve("../weights")) { include("*.tflite", "*.onnx", "*.pte") }
    into(layout.buildDirectory.dir("builds/builds"))
}

android {
    namespace = "cpledge.app"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        applicationId = "cpledge.app"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = libs.versions.appCode.get().toInt()
        versionName = libs.versions.app.get()
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    // Engines are found by name.
    buildTypes {
        release { isMinifyEnabled = false }
    }

    androidResources { noCompress += listOf("tflite", "onnx", "pte") }
    sourceSets["main"].assets.srcDir(layout.buildDirectory.dir("builds"))
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

tasks.named("preBuild") { dependsOn(builds) }

// To leave an engine out of the APK, remove its line and its folder in
// src/main/kotlin/cpledge/engine.
dependencies {
    implementation(project(":core"))
    implementation(libs.litert)
    implementation(libs.onnxruntime.android)
    implementation(libs.executorch.android)
}
