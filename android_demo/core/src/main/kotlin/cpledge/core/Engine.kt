package cpledge.core

import java.io.Closeable
import java.nio.FloatBuffer

/**
 * An open model file. One thread at a time uses it.
 *
 * Buffers are direct, in native order, and hold exactly one image (or the weights, or the logits);
 * they are read and written from their start whatever their position, and are rewound afterwards.
 */
interface Engine : Closeable {
    /** What the file says about itself. */
    val info: ModelInfo

    /** What really runs it: `LiteRT 2.16.1, XNNPACK, CPU`. */
    val runs: String

    /**
     * Call an entry point; returns when [out] holds the result.
     *
     * @param entry one of [ModelInfo.entryPoints].
     * @param image the image x.
     * @param weights the prompt weights w of all sites; for [EntryPoint.RESTORE] only.
     * @param out the image y, or the logits of all sites for [EntryPoint.ROUTE].
     * @throws ModelException the runtime failed.
     */
    fun run(entry: EntryPoint, image: FloatBuffer, weights: FloatBuffer?, out: FloatBuffer)

    /** Free the model. Closing twice is fine. */
    override fun close()
}

/**
 * The function of a file that serves a call of [Engine.run].
 *
 * @param weights the prompt weights w of the call; they choose where each degradation has a
 *   function of its own.
 * @return the entry point itself, or the function of the degradation whose prompts weigh most.
 */
fun ModelInfo.chosenFunction(entry: EntryPoint, weights: FloatBuffer?): String {
    if (!own || entry != EntryPoint.RESTORE) return entry.key
    val given = checkNotNull(weights)
    val values = FloatArray(given.capacity()) { given.get(it) }
    return ModelInfo.restorer(degradations[PhotoRouting(this).heaviest(values)])
}
