// A stand-in for tests without Google's Maven repository: what Robolectric asks of androidx.test.
package androidx.test.internal.platform.os

import android.view.View

interface ControlledLooper {
    fun drainMainThreadUntilIdle()
    fun simulateWindowFocus(view: View)
}
