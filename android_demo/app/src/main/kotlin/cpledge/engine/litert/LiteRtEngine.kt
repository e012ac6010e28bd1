package cpledge.engine.litert

import cpledge.core.Engine
import cpledge.core.EntryPoint
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import cpledge.core.TfliteMetadata
import cpledge.core.chosenFunction
import cpledge.core.directFloats
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import org.tensorflow.lite.TensorFlowLite
import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.nio.FloatBuffer
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel

/**
 * LiteRT (TensorFlow Lite's `Interpreter`) on the CPU with XNNPACK: a signature for each of
 * [ModelInfo.functions]. The file stays mapped while the engine is open.
 *
 * @throws ModelException not a TFLite file, or not one of cpl_edge.
 */
class LiteRtEngine(file: File, threads: Int) : Engine {
    private val mapped: MappedByteBuffer // the interpreter reads it all the time
    private var interpreter: Interpreter? = null
    override val info: ModelInfo
    private val signatures: Map<String, Signature>
    private val spareWeights: FloatBuffer

    // Whether XNNPACK took the graph is not told by this API; it is asked for.
    override val runs: String get() = "LiteRT ${TensorFlowLite.runtimeVersion()}, CPU (XNNPACK)"

    /** Names of a signature's tensors; [logits] and [routed] are those of `route`. */
    private class Signature(
        val image: String,
        val weights: String?,
        val out: String?,
        val logits: String?,
        val routed: String?,
    )

    init {
        mapped = try {
            FileInputStream(file).use {
                it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.channel.size())
            }
        } catch (error: IOException) {
            throw ModelException("${file.name} cannot be read: copy it again", error)
        }
        info = ModelInfo.fromJson(TfliteMetadata.read(mapped, ModelInfo.KEY, file.name), file.name)
        val options = Interpreter.Options().setNumThreads(threads).setUseXNNPACK(true)
        val opened = try {
            Interpreter(mapped, options)
        } catch (error: RuntimeException) { // the native side throws several kinds
            throw ModelException("${file.name} is damaged: copy or export it again", error)
        }
        interpreter = opened
        try {
            signatures = info.functions.mapValues { (function, entry) ->
                signature(opened, function, entry, file.name)
            }
        } catch (error: RuntimeException) {
            opened.close()
            throw ModelException("${file.name} is damaged: copy or export it again", error)
        } catch (error: ModelException) {
            opened.close()
            throw error
        }
        spareWeights = directFloats(info.sites * info.prompts)
    }

    override fun run(
        entry: EntryPoint,
        image: FloatBuffer,
        weights: FloatBuffer?,
        out: FloatBuffer,
    ) {
        val interpreter = checkNotNull(interpreter) { "the engine is closed" }
        val function = info.chosenFunction(entry, weights)
        val signature = signatures.getValue(function)
        image.rewind()
        out.rewind()
        val inputs = HashMap<String, Any>()
        inputs[signature.image] = image
        signature.weights?.let { inputs[it] = checkNotNull(weights).rewind() }
        val outputs = HashMap<String, Any>()
        signature.out?.let { outputs[it] = out }
        signature.logits?.let { outputs[it] = out }
        signature.routed?.let { outputs[it] = spareWeights.rewind() }
        try {
            interpreter.runSignature(inputs, outputs, function)
        } catch (error: RuntimeException) {
            throw ModelException("LiteRT failed: ${error.message}", error)
        }
        image.rewind()
        out.rewind()
    }

    override fun close() {
        interpreter?.close()
        interpreter = null
    }

    private fun signature(
        opened: Interpreter,
        function: String,
        entry: EntryPoint,
        file: String,
    ): Signature {
        if (function !in opened.signatureKeys) {
            throw ModelException("$file lacks its entry point '$function': export it again")
        }
        val inputs = opened.getSignatureInputs(function)
            .associateWith { shape(opened.getInputTensorFromSignature(it, function)) }
        val outputs = opened.getSignatureOutputs(function)
            .associateWith { shape(opened.getOutputTensorFromSignature(it, function)) }
        val image = info.imageShape.asList()
        val weights = info.weightsShape.asList()
        val logits = listOf(1L, info.sites.toLong(), info.logits.toLong())
        val isRoute = entry == EntryPoint.ROUTE
        return Signature(
            image = only(inputs, image, file),
            weights = if (entry == EntryPoint.RESTORE) only(inputs, weights, file) else null,
            out = if (isRoute) null else only(outputs, image, file),
            logits = if (isRoute) only(outputs, logits, file) else null,
            routed = if (isRoute) only(outputs, weights, file) else null,
        )
    }

    private fun shape(tensor: Tensor): List<Long> = tensor.shape().map { it.toLong() }

    /** Converters name tensors as they like, so the shape tells which is which. */
    private fun only(tensors: Map<String, List<Long>>, shape: List<Long>, file: String): String =
        tensors.filterValues { it == shape }.keys.singleOrNull() ?: throw ModelException(
            "$file has no tensor of the shape $shape that it describes: export it again",
        )
}
