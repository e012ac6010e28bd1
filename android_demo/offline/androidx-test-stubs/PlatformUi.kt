// A stand-in for tests without Google's Maven repository: what Robolectric asks of androidx.test.
package androidx.test.platform.ui

class InjectEventSecurityException(message: String) : Exception(message)

interface UiController {
    fun loopMainThreadUntilIdle()
    fun loopMainThreadForAtLeast(millis: Long)
}
