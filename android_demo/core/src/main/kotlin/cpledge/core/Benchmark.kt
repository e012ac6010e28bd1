package cpledge.core

import java.util.concurrent.CancellationException

/**
 * How long a measurement goes on: [warmup] calls that do not count, then [queries] calls or
 * [seconds], whichever comes first. The full limits are those of MLPerf Mobile's single stream.
 */
enum class Limits(val key: String, val warmup: Int, val queries: Int, val seconds: Double) {
    FULL("full", 16, 1024, 60.0),
    QUICK("quick", 4, 64, 5.0),
}

/**
 * What one entry point costs.
 *
 * @property firstMs the very first call, which allocates; part of the warm-up.
 * @property seconds wall time of the counted calls.
 */
class Measured(
    val entry: EntryPoint,
    val firstMs: Double,
    val warmup: Int,
    val seconds: Double,
    val latency: Latency,
)

/**
 * Measures the entry points that a photo needs: `route` and `restore`, or `forward` alone.
 *
 * @param engine the open file; not closed.
 * @param nanoTime the clock.
 */
class Benchmark(
    private val engine: Engine,
    private val limits: Limits,
    private val nanoTime: () -> Long = System::nanoTime,
) {
    private val info = engine.info
    private val image = directFloats(info.imageSize)
    private val restored = directFloats(info.imageSize)
    private val logits = directFloats(info.sites * info.logits)
    private val weights = directFloats(info.sites * info.prompts)

    /**
     * Run all measurements.
     *
     * @param progress told how many of how many counted calls are done; the limit in time may end
     *   them early.
     * @throws CancellationException [cancelled] said so.
     */
    fun run(cancelled: Cancelled, progress: Progress = Progress { _, _ -> }): List<Measured> {
        for (i in 0 until info.imageSize) image.put(i, i * 37 % 256 / 255f)
        // All on the first degradation; where each has a function of its own, all cost the same.
        for (i in 0 until weights.capacity()) {
            weights.put(i, if (i % info.prompts < info.levels) 1f / info.levels else 0f)
        }
        val entries = listOf(EntryPoint.ROUTE, EntryPoint.RESTORE).filter { it in info }
            .ifEmpty { listOf(EntryPoint.FORWARD) }
        return entries.map { measure(it, cancelled, progress) }
    }

    private fun measure(entry: EntryPoint, cancelled: Cancelled, progress: Progress): Measured {
        val first = call(entry, cancelled)
        repeat(limits.warmup - 1) { call(entry, cancelled) }
        val times = ArrayList<Double>(limits.queries)
        val start = nanoTime()
        do {
            times += call(entry, cancelled)
            progress.tile(times.size, limits.queries)
            val seconds = (nanoTime() - start) / 1e9
        } while (times.size < limits.queries && seconds < limits.seconds)
        return Measured(entry, first, limits.warmup, (nanoTime() - start) / 1e9, Latency(times))
    }

    private fun call(entry: EntryPoint, cancelled: Cancelled): Double {
        if (cancelled.isCancelled()) throw CancellationException("cancelled")
        val out = if (entry == EntryPoint.ROUTE) logits else restored
        val given = if (entry == EntryPoint.RESTORE) weights else null
        val start = nanoTime()
        engine.run(entry, image, given, out)
        return (nanoTime() - start) / 1e6
    }
}
