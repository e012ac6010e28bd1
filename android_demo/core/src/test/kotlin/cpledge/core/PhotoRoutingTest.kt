package cpledge.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test

class PhotoRoutingTest {
    private val routing = PhotoRouting(degradations = 5, levels = 3)
    private val golden = Golden.values.getJSONArray("routing").objects()

    @Test
    fun `weights are those of Python, ties and near ties included`() {
        for (case in golden) {
            val logits = case.getJSONArray("logits").floats()
            assertArrayEquals(case.getJSONArray("select").floats(), routing.select(logits), 1e-6f)
            val forced = case.getJSONArray("forced")
            for (d in 0 until 5) {
                assertArrayEquals(forced.getJSONArray(d).floats(), routing.forced(logits, d), 1e-6f)
            }
            val certainty = case.getJSONArray("probabilities").floats()
            assertArrayEquals(certainty, routing.probabilities(logits), 1e-6f)
        }
    }

    @Test
    fun `a mixture of one is that one, of two the mean`() {
        val logits = golden[3].getJSONArray("logits").floats()
        assertArrayEquals(routing.forced(logits, 2), routing.mixed(logits, floatArrayOf(0f, 0f, 7f, 0f, 0f)), 1e-7f)
        val mean = routing.forced(logits, 0).zip(routing.forced(logits, 4)) { a, b -> (a + b) / 2 }
        val mixed = routing.mixed(logits, floatArrayOf(1f, 0f, 0f, 0f, 1f))
        assertArrayEquals(mean.toFloatArray(), mixed, 1e-7f)
        assertArrayEquals(floatArrayOf(.5f, 0f, 0f, 0f, .5f), routing.shares(mixed), 1e-6f)
        for (bad in listOf(FloatArray(5), FloatArray(4) { 1f }, floatArrayOf(1f, -1f, 0f, 0f, 1f))) {
            assertThrows(IllegalArgumentException::class.java) { routing.mixed(logits, bad) }
        }
    }

    @Test
    fun `crops are those of Python`() {
        for (case in Golden.values.getJSONArray("crops").objects()) {
            val origins = case.getJSONArray("origins")
            val expected = List(origins.length()) { origins.getJSONArray(it).ints() }
            val (height, width, most) = listOf("height", "width", "most").map { case.getInt(it) }
            val crops = PhotoRouting.cropOrigins(height, width, 96, 96, most)
            assertEquals(expected, crops.map { listOf(it.first, it.second) })
        }
    }
}
