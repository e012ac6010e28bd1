// Kotlin for Android comes with the Android plugin (9.0 and later).
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
