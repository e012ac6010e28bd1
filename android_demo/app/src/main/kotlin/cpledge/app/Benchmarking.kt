package cpledge.app

import android.os.Handler
import android.os.Looper
import cpledge.core.Benchmark
import cpledge.core.BuildProfile
import cpledge.core.Cancelled
import cpledge.core.Limits
import cpledge.core.ModelException
import cpledge.core.profileJson
import java.io.File
import java.security.MessageDigest
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import java.util.concurrent.CancellationException
import java.util.concurrent.Executors

/** All builds measured in turn; used from the main thread, worked on by one thread. */
class Benchmarking(private val app: DemoApplication) {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())

    @Volatile private var isCancelled = false

    var isRunning = false
        private set

    /** What is measured now: build, calls done and calls in all. */
    var now: Triple<String, Int, Int>? = null
        private set
    var profiles: List<BuildProfile> = emptyList()
        private set
    private var limits = Limits.QUICK
    private var started = ""

    /** Told after every change. */
    var listener: (() -> Unit)? = null

    fun start(limits: Limits, threads: Int) {
        if (isRunning) return
        isRunning = true
        isCancelled = false
        profiles = emptyList()
        this.limits = limits
        started = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'Z'", Locale.ROOT)
            .apply { timeZone = TimeZone.getTimeZone("UTC") }.format(Date())
        listener?.invoke()
        worker.execute {
            for (file in app.builds.list()) {
                if (isCancelled) break
                val profile = measure(file, limits, threads) ?: break
                main.post {
                    profiles = profiles + profile
                    listener?.invoke()
                }
            }
            main.post {
                isRunning = false
                now = null
                listener?.invoke()
            }
        }
    }

    fun cancel() {
        isCancelled = true
    }

    /** The figures so far as JSON. */
    fun json(): String {
        val version = app.packageManager.getPackageInfo(app.packageName, 0).versionName ?: "?"
        return profileJson(version, limits, started, Phone.describe(), profiles)
    }

    /** One build's figures, or why there are none; null if cancelled. */
    private fun measure(file: File, limits: Limits, threads: Int): BuildProfile? {
        val before = Phone.conditions(app)
        val empty = BuildProfile(
            file.name, file.length(), sha256(file), null, null, threads, null, emptyList(), null,
            before, before, null,
        )
        return try {
            val start = System.nanoTime()
            app.builds.kind(file).open(file, threads).use { engine ->
                val loadMs = (System.nanoTime() - start) / 1e6
                val stop = Cancelled { isCancelled }
                val measured = Benchmark(engine, limits).run(stop) { done, all ->
                    if (done % REPORT_EVERY == 0) main.post { report(file.name, done, all) }
                }
                empty.copy(
                    info = engine.info,
                    runs = engine.runs,
                    loadMs = loadMs,
                    measured = measured,
                    memoryPeakMb = Phone.memoryPeakMb(),
                    after = Phone.conditions(app),
                )
            }
        } catch (_: CancellationException) {
            null
        } catch (error: ModelException) {
            empty.copy(error = error.message)
        } catch (_: OutOfMemoryError) {
            empty.copy(error = app.getString(R.string.out_of_memory))
        }
    }

    private fun report(name: String, done: Int, all: Int) {
        now = Triple(name, done, all)
        listener?.invoke()
    }

    private fun sha256(file: File): String {
        val digest = MessageDigest.getInstance("SHA-256")
        file.forEachBlock { bytes, count -> digest.update(bytes, 0, count) }
        return digest.digest().joinToString("") { "%02x".format(Locale.ROOT, it) }
    }

    private companion object {
        const val REPORT_EVERY = 8
    }
}
