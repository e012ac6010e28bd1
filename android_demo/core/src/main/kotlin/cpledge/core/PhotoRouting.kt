package cpledge.core

import kotlin.math.exp
import kotlin.math.sqrt

/**
 * Routing once per photo, as `cpl_edge/restore/routing.py`: the router sees crops at the photo's
 * own resolution, its logits are averaged, and every tile gets the same weights.
 *
 * Arrays hold one site after another: L = D + D * M logits each (D degradations, then M levels of
 * each of them), N = D * M weights each.
 */
class PhotoRouting(private val degradations: Int, private val levels: Int) {
    private val prompts = degradations * levels
    private val logits = degradations + prompts

    constructor(info: ModelInfo) : this(info.degradations.size, info.levels)

    /**
     * Weights of the degradation with the largest logit: its levels by softmax, all else exactly 0.
     * Of equal logits the first wins; closer than 1e-6 they are mixed, as the student does.
     */
    fun select(logits: FloatArray): FloatArray = bySite(logits) { base ->
        var largest = logits[base]
        for (d in 1 until degradations) largest = maxOf(largest, logits[base + d])
        var free = 1f
        FloatArray(degradations) { d ->
            // A step instead of a comparison: that has to agree with the student even near ties.
            val isTop = ((logits[base + d] - largest) * 1e6f + 1f).coerceIn(0f, 1f)
            val share = isTop * free
            free -= share
            share
        }
    }

    /** Weights of a degradation chosen by hand; its levels by the router. */
    fun forced(logits: FloatArray, index: Int): FloatArray {
        require(index in 0 until degradations) { "no degradation $index" }
        return bySite(logits) { FloatArray(degradations) { d -> if (d == index) 1f else 0f } }
    }

    /**
     * Weights of several degradations at once; their levels by the router.
     *
     * @param shares how much of each degradation, 0 or more; scaled so that they sum to 1.
     */
    fun mixed(logits: FloatArray, shares: FloatArray): FloatArray {
        require(shares.size == degradations && shares.all { it >= 0f && it.isFinite() }) {
            "a mixture needs $degradations shares of 0 or more"
        }
        val sum = shares.sum()
        require(sum > 0f) { "a mixture needs one share above 0" }
        return bySite(logits) { FloatArray(degradations) { d -> shares[d] / sum } }
    }

    /** How sure the router is: softmax over the degradations, mean over the sites. */
    fun probabilities(logits: FloatArray): FloatArray {
        val sites = sites(logits)
        val mean = FloatArray(degradations)
        for (site in 0 until sites) {
            val p = softmax(logits, site * this.logits, degradations)
            for (d in mean.indices) mean[d] += p[d] / sites
        }
        return mean
    }

    /** How much of the weights, over all sites, each degradation has: sums to 1. */
    fun shares(weights: FloatArray): FloatArray {
        val sites = weights.size / prompts
        val shares = FloatArray(degradations)
        for (i in weights.indices) shares[i % prompts / levels] += weights[i] / sites
        return shares
    }

    /** Index of the degradation that has most of the weights; of equal ones the first. */
    fun heaviest(weights: FloatArray): Int {
        val shares = shares(weights)
        return shares.indices.maxByOrNull { shares[it] } ?: 0
    }

    private fun sites(logits: FloatArray): Int {
        require(logits.isNotEmpty() && logits.size % this.logits == 0) {
            "${logits.size} logits are not ${this.logits} for each site"
        }
        return logits.size / this.logits
    }

    private fun bySite(logits: FloatArray, shares: (Int) -> FloatArray): FloatArray {
        val weights = FloatArray(sites(logits) * prompts)
        for (site in 0 until sites(logits)) {
            val base = site * this.logits
            val share = shares(base)
            for (d in 0 until degradations) {
                val level = softmax(logits, base + degradations + d * levels, levels)
                for (m in 0 until levels) {
                    weights[site * prompts + d * levels + m] = level[m] * share[d]
                }
            }
        }
        return weights
    }

    private fun softmax(values: FloatArray, from: Int, count: Int): FloatArray {
        var largest = values[from]
        for (i in from until from + count) largest = maxOf(largest, values[i])
        val e = FloatArray(count) { exp(values[from + it] - largest) }
        val sum = e.sum()
        for (i in e.indices) e[i] /= sum
        return e
    }

    companion object {
        /**
         * Spread crops over a photo in a grid, as square as its shape allows.
         *
         * @param most how many crops at most; a photo that fewer cover gets fewer.
         * @return top and left of each; 0 along an axis shorter than the crop.
         */
        fun cropOrigins(
            height: Int,
            width: Int,
            cropHeight: Int,
            cropWidth: Int,
            most: Int,
        ): List<Pair<Int, Int>> {
            val fitRows = (height + cropHeight - 1) / cropHeight
            val fitColumns = (width + cropWidth - 1) / cropWidth
            var rows = minOf(sqrt(most.toDouble()).toInt(), fitRows)
            val columns = minOf(most / rows, fitColumns)
            rows = minOf(most / columns, fitRows) // what the other axis left
            return spread(height - cropHeight, rows).flatMap { top ->
                spread(width - cropWidth, columns).map { left -> top to left }
            }
        }

        private fun spread(last: Int, count: Int): List<Int> = when {
            last <= 0 -> listOf(0)
            count == 1 -> listOf(last / 2)
            // Halves to even, as Python rounds.
            else -> List(count) { Math.rint(it.toDouble() * last / (count - 1)).toInt() }
        }
    }
}
