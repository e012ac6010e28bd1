package cpledge.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import java.nio.FloatBuffer
import java.util.concurrent.CancellationException

class BenchmarkTest {
    /** Every call takes [ms] of a clock that stands still otherwise; the first 100 more. */
    private class Slow(info: ModelInfo, private val ms: Long) : StubEngine(info) {
        var now = 0L

        override fun run(entry: EntryPoint, image: FloatBuffer, weights: FloatBuffer?, out: FloatBuffer) {
            now += ms * 1_000_000 + if (calls.isEmpty()) 100_000_000 else 0
            super.run(entry, image, weights, out)
        }
    }

    private fun run(engine: Slow, limits: Limits): List<Measured> =
        Benchmark(engine, limits) { engine.now }.run({ false })

    @Test
    fun `counts queries after the warm-up, for each entry point that a photo needs`() {
        val engine = Slow(Golden.info, 2)
        val measured = run(engine, Limits.QUICK)
        assertEquals(listOf(EntryPoint.ROUTE, EntryPoint.RESTORE), measured.map { it.entry })
        assertEquals(2 * (4 + 64), engine.calls.size)
        assertEquals(listOf(102.0, 2.0), measured.map { it.firstMs })
        assertEquals(2.0, measured[0].latency.max) // the first call does not count
        assertEquals(64 * 0.002, measured[0].seconds, 1e-9)
        assertEquals(1f, engine.given[0].sum(), 1e-6f)
    }

    @Test
    fun `stops when the time is over`() {
        val pinned = Golden.info.copy(entryPoints = setOf(EntryPoint.FORWARD))
        val measured = run(Slow(pinned, 1000), Limits.QUICK).single()
        assertEquals(EntryPoint.FORWARD, measured.entry)
        assertEquals(5, measured.latency.count)
        assertEquals(60, run(Slow(pinned, 1000), Limits.FULL).single().latency.count)
        assertEquals(1024, run(Slow(pinned, 1), Limits.FULL).single().latency.count)
    }

    @Test
    fun `can be cancelled`() {
        val engine = Slow(Golden.info, 1)
        assertThrows(CancellationException::class.java) {
            Benchmark(engine, Limits.FULL) { engine.now }.run({ engine.calls.size == 30 })
        }
        assertEquals(30, engine.calls.size)
    }
}
