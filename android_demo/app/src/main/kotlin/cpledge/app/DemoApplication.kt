package cpledge.app

import android.app.Application

/** Holds what outlives an activity: a rotated screen finds its photo, and its work goes on. */
class DemoApplication : Application() {
    val builds: Builds by lazy { Builds(this) }
    val photos: Photos by lazy { Photos(this) }
    val restoring: Restoring by lazy { Restoring(this) }
    val benchmarking: Benchmarking by lazy { Benchmarking(this) }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        restoring.trimMemory(level)
    }
}
