// A stand-in for tests without Google's Maven repository: what Robolectric asks of androidx.test.
package androidx.test.internal.platform.util

object TestOutputEmitter {
    @JvmStatic fun dumpThreadStates(file: String) = Unit
}
