// A stand-in for tests without Google's Maven repository: what Robolectric asks of androidx.test.
package androidx.test.platform.app

import android.app.Instrumentation
import android.os.Bundle

object InstrumentationRegistry {
    private var instrumentation: Instrumentation? = null
    private var arguments: Bundle? = null

    @JvmStatic fun getInstrumentation(): Instrumentation = checkNotNull(instrumentation)

    @JvmStatic fun getArguments(): Bundle = checkNotNull(arguments)

    @JvmStatic fun registerInstance(instrumentation: Instrumentation?, arguments: Bundle?) {
        this.instrumentation = instrumentation
        this.arguments = arguments
    }
}
