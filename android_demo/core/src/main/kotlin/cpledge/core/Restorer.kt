package cpledge.core

import java.util.concurrent.CancellationException

/** What prompt weights all tiles of a photo get. */
sealed interface Choice {
    /** The router selects. */
    data object Auto : Choice

    /** A degradation by name; its levels by the router. */
    data class Pinned(val degradation: String) : Choice

    /** A mixture by hand: how much of each degradation; their levels by the router. */
    data class Mixed(val shares: List<Float>) : Choice
}

/** Where the time of one photo went, in milliseconds of wall time. */
data class Times(
    val load: Double,
    val route: Double,
    val network: Double,
    val packing: Double,
    val total: Double,
)

/**
 * What happened to a photo.
 *
 * @property weights prompt weights of all tiles, site by site; null where the file decides inside.
 * @property degradation the selected or heaviest one; null where the file does not tell.
 * @property probabilities the router's certainty by degradation; empty where nothing was routed.
 */
class Restored(
    val weights: FloatArray?,
    val degradation: String?,
    val probabilities: Map<String, Float>,
    val tiles: Int,
    val times: Times,
)

/** Called after every tile with the number of tiles done and of all tiles. */
fun interface Progress {
    fun tile(done: Int, all: Int)
}

/** Asked before every call of the network; true stops with a [CancellationException]. */
fun interface Cancelled {
    fun isCancelled(): Boolean
}

/**
 * Restores photos of any size with one open model file, which it does not close: the steps of
 * `cpl_edge/restore/restorer.py`, with the same results. Memory does not grow with the photo.
 *
 * @param engine the open file.
 * @param loadMs milliseconds that opening it took, for the account of times.
 * @param crops how many crops of a photo the router sees at most.
 * @throws ModelException the file's images are too small for its halo.
 */
class Restorer(
    private val engine: Engine,
    private val loadMs: Double = 0.0,
    private val crops: Int = 9,
) {
    private val info = engine.info
    private val packing = Packing(info)
    private val routing = PhotoRouting(info)
    private val weights = directFloats(info.sites * info.prompts)
    private val logits = directFloats(info.sites * info.logits)

    /**
     * Restore one photo.
     *
     * @param photo read twice, tile by tile; not the memory that [result] writes to.
     * @param result of the same size as the photo; half-written if this throws.
     * @throws ModelException the file cannot be told that choice, or the runtime failed.
     * @throws CancellationException [cancelled] said so.
     */
    fun restore(
        photo: PhotoSource,
        result: PhotoSink,
        choice: Choice = Choice.Auto,
        cancelled: Cancelled = Cancelled { false },
        progress: Progress = Progress { _, _ -> },
    ): Restored {
        val clock = Clock()
        check(choice)
        val isTold = EntryPoint.RESTORE in info
        val meanLogits = if (isTold) route(photo, cancelled, clock) else null
        val chosen = meanLogits?.let { weigh(it, choice) }
        if (chosen != null) {
            weights.rewind()
            weights.put(chosen).rewind()
        }
        val entry = if (isTold) EntryPoint.RESTORE else EntryPoint.FORWARD
        val grid = Grid(photo.height, photo.width, info)
        for (index in 0 until grid.size) {
            stopIf(cancelled)
            val tile = grid[index]
            clock.packing { packing.pack(photo, tile.top, tile.left) }
            clock.network {
                engine.run(entry, packing.input, if (isTold) weights else null, packing.output)
            }
            clock.packing { packing.unpack(tile, photo, result) }
            progress.tile(index + 1, grid.size)
        }
        return Restored(
            chosen,
            if (chosen == null) info.pinned else info.degradations[routing.heaviest(chosen)],
            meanLogits?.let { byName(routing.probabilities(it)) } ?: emptyMap(),
            grid.size,
            clock.times(loadMs),
        )
    }

    private fun check(choice: Choice) {
        val canBeTold = EntryPoint.RESTORE in info
        if (canBeTold && EntryPoint.ROUTE !in info) {
            throw ModelException("this build cannot route: use one with the entry point 'route'")
        }
        when (choice) {
            is Choice.Auto -> return
            is Choice.Pinned -> {
                if (choice.degradation !in info.degradations) {
                    throw ModelException(
                        "this build does not know '${choice.degradation}': choose one of " +
                            info.degradations.joinToString(),
                    )
                }
                if (choice.degradation == info.pinned) return
            }
            is Choice.Mixed -> if (choice.shares.size != info.degradations.size) {
                throw ModelException("this build mixes ${info.degradations.size} degradations")
            }
        }
        if (info.pinned != null) {
            throw ModelException("this build is pinned to '${info.pinned}': use another build")
        }
        if (!canBeTold) {
            throw ModelException("this build takes no choice: leave the routing at automatic")
        }
    }

    private fun weigh(logits: FloatArray, choice: Choice): FloatArray = when (choice) {
        is Choice.Auto -> routing.select(logits)
        is Choice.Pinned -> routing.forced(logits, info.degradations.indexOf(choice.degradation))
        is Choice.Mixed -> try {
            routing.mixed(logits, choice.shares.toFloatArray())
        } catch (error: IllegalArgumentException) {
            throw ModelException(error.message ?: "no such mixture", error)
        }
    }

    /** Router outputs, averaged over crops of the photo. */
    private fun route(photo: PhotoSource, cancelled: Cancelled, clock: Clock): FloatArray {
        val origins = PhotoRouting.cropOrigins(
            photo.height, photo.width, info.height, info.width, crops,
        )
        val mean = FloatArray(info.sites * info.logits)
        for ((top, left) in origins) {
            stopIf(cancelled)
            clock.packing { packing.pack(photo, top, left) }
            clock.route { engine.run(EntryPoint.ROUTE, packing.input, null, logits) }
            for (i in mean.indices) mean[i] += logits.get(i)
        }
        for (i in mean.indices) mean[i] /= origins.size.toFloat()
        return mean
    }

    private fun byName(values: FloatArray): Map<String, Float> =
        info.degradations.indices.associate { info.degradations[it] to values[it] }

    private fun stopIf(cancelled: Cancelled) {
        if (cancelled.isCancelled()) throw CancellationException("cancelled")
    }
}

/** Adds up nanoseconds by what they were spent on. */
private class Clock {
    private val start = System.nanoTime()
    private var route = 0L
    private var network = 0L
    private var packing = 0L

    inline fun route(work: () -> Unit) { route += spent(work) }

    inline fun network(work: () -> Unit) { network += spent(work) }

    inline fun packing(work: () -> Unit) { packing += spent(work) }

    inline fun spent(work: () -> Unit): Long {
        val from = System.nanoTime()
        work()
        return System.nanoTime() - from
    }

    fun times(load: Double): Times =
        Times(load, route / 1e6, network / 1e6, packing / 1e6, (System.nanoTime() - start) / 1e6)
}
