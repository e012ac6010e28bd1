package cpledge.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test

class LatencyTest {
    @Test
    fun `percentiles are NumPy's`() {
        for (case in Golden.values.getJSONArray("percentiles").objects()) {
            val samples = case.getJSONArray("samples")
            val latency = Latency(List(samples.length()) { samples.getDouble(it) })
            val values = case.getJSONArray("values")
            for ((i, percent) in listOf(0.0, 50.0, 90.0, 99.0, 100.0).withIndex()) {
                assertEquals(values.getDouble(i), latency.percentile(percent), 1e-12)
            }
            assertEquals(values.getDouble(0), latency.min)
            assertEquals(values.getDouble(4), latency.max)
        }
    }

    @Test
    fun `nothing measured is no figure`() {
        assertThrows(IllegalArgumentException::class.java) { Latency(emptyList()) }
        assertThrows(IllegalArgumentException::class.java) { Latency(listOf(1.0)).percentile(101.0) }
    }
}
