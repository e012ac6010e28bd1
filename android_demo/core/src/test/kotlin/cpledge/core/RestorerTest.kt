package cpledge.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.lang.management.BufferPoolMXBean
import java.lang.management.ManagementFactory
import java.util.concurrent.CancellationException

class RestorerTest {
    private val photo = Golden.photo("photo.png")
    private val result = ArrayPhoto(photo.width, photo.height)

    @Test
    fun `the identity gives the photo back, in both layouts`() {
        for (layout in Layout.entries) {
            val engine = StubEngine(Golden.info.copy(layout = layout))
            Restorer(engine).restore(photo, result)
            assertArrayEquals(photo.pixels, result.pixels)
        }
    }

    @Test
    fun `one routing for all tiles, then progress tile by tile`() {
        val logits = FloatArray(20).also { it[2] = 5f }
        val engine = StubEngine(Golden.info, logits)
        val told = mutableListOf<Int>()
        val tiles = Grid(photo.height, photo.width, Golden.info).size
        assertTrue(tiles > 4)
        val restored = Restorer(engine, loadMs = 12.0).restore(photo, result) { done, all ->
            assertEquals(tiles, all)
            told += done
        }
        assertEquals(4 * listOf(EntryPoint.ROUTE) + tiles * listOf(EntryPoint.RESTORE), engine.calls)
        assertTrue(engine.given.all { it.contentEquals(restored.weights) })
        assertEquals("rain", restored.degradation)
        assertEquals((1..tiles).toList(), told)
        val times = restored.times
        assertEquals(12.0, times.load)
        assertTrue(times.route + times.network + times.packing <= times.total)
    }

    private operator fun <T> Int.times(list: List<T>): List<T> = List(this) { list }.flatten()

    private fun Restorer.restore(from: PhotoSource, to: PhotoSink, progress: Progress): Restored =
        restore(from, to, Choice.Auto, { false }, progress)

    @Test
    fun `cancelling stops between tiles`() {
        val engine = StubEngine(Golden.info)
        var done = 0
        assertThrows(CancellationException::class.java) {
            Restorer(engine).restore(photo, result, Choice.Auto, { done == 3 }) { n, _ -> done = n }
        }
        assertEquals(3, engine.calls.count { it == EntryPoint.RESTORE })
    }

    @Test
    fun `pinned and forward-only files decide inside`() {
        val pinned = Golden.info.copy(
            routing = Routing.PINNED, pinned = "haze", entryPoints = setOf(EntryPoint.FORWARD),
        )
        val restored = Restorer(StubEngine(pinned)).restore(photo, result, Choice.Pinned("haze"))
        assertEquals("haze", restored.degradation)
        assertEquals(null, restored.weights)
        refused(pinned, Choice.Pinned("rain"), "pinned to 'haze'")
        refused(pinned, Choice.Mixed(List(5) { 1f }), "pinned to 'haze'")
        val forward = Golden.info.copy(entryPoints = setOf(EntryPoint.FORWARD))
        assertEquals(null, Restorer(StubEngine(forward)).restore(photo, result).degradation)
        refused(forward, Choice.Pinned("rain"), "automatic")
    }

    @Test
    fun `choices that no build knows are refused`() {
        refused(Golden.info, Choice.Pinned("snow"), "does not know 'snow'")
        refused(Golden.info, Choice.Mixed(List(4) { 1f }), "mixes 5")
        refused(Golden.info, Choice.Mixed(List(5) { 0f }), "above 0")
    }

    private fun refused(info: ModelInfo, choice: Choice, words: String) {
        val error = assertThrows(ModelException::class.java) {
            Restorer(StubEngine(info)).restore(photo, result, choice)
        }
        assertTrue(words in error.message!!, error.message)
    }

    @Test
    fun `12 megapixels need a few megabytes beside the photo`() {
        val info = Golden.info.copy(height = 256, width = 256, halo = 44)
        val engine = StubEngine(info)
        val large = object : PhotoSource, PhotoSink {
            override val width = 4000
            override val height = 3000
            var written = 0L
            override fun readRow(x: Int, y: Int, count: Int, into: IntArray) = into.fill(x + y, 0, count)
            override fun write(x: Int, y: Int, width: Int, height: Int, pixels: IntArray) {
                written += width * height
            }
        }
        val threads = ManagementFactory.getThreadMXBean() as com.sun.management.ThreadMXBean
        val direct = ManagementFactory.getPlatformMXBeans(BufferPoolMXBean::class.java)
            .single { it.name == "direct" }
        val before = threads.getThreadAllocatedBytes(Thread.currentThread().id) to direct.memoryUsed
        val restored = Restorer(engine).restore(large, large)
        val heap = threads.getThreadAllocatedBytes(Thread.currentThread().id) - before.first
        assertEquals(12_000_000, large.written)
        assertEquals(432, restored.tiles)
        assertTrue(heap < 4_000_000, "$heap bytes of heap over all tiles")
        assertTrue(direct.memoryUsed - before.second < 4_000_000)
    }
}
