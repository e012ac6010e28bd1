package cpledge.core

/** Times of equal calls, in milliseconds. */
class Latency(samples: List<Double>) {
    private val sorted = samples.sorted()

    init {
        require(sorted.isNotEmpty()) { "no times" }
    }

    val count: Int get() = sorted.size
    val min: Double get() = sorted.first()
    val max: Double get() = sorted.last()
    val mean: Double get() = sorted.average()

    /** A percentile between 0 and 100, linear between the two nearest samples, as NumPy has it. */
    fun percentile(percent: Double): Double {
        require(percent in 0.0..100.0) { "no percentile $percent" }
        val position = (sorted.size - 1) * percent / 100
        val below = position.toInt()
        val above = minOf(below + 1, sorted.size - 1)
        return sorted[below] + (sorted[above] - sorted[below]) * (position - below)
    }
}
