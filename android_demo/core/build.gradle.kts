import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_1_8
        freeCompilerArgs.add("-Xjdk-release=8")
        allWarningsAsErrors = true
    }
    // The app's own ONNX Runtime engine knows nothing of Android, so it is tested here.
    sourceSets["test"].kotlin.srcDir("../app/src/main/kotlin/cpledge/engine/onnx")
}

java {
    sourceCompatibility = JavaVersion.VERSION_1_8
    targetCompatibility = JavaVersion.VERSION_1_8
}

dependencies {
    compileOnly(libs.android.json) // on a phone the framework's own
    testImplementation(libs.android.json)
    testImplementation(libs.junit.jupiter)
    testImplementation(libs.onnxruntime.jvm)
    testRuntimeOnly(libs.junit.launcher)
}

tasks.test {
    useJUnitPlatform()
    maxHeapSize = "512m"
}
