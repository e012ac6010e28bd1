package cpledge.engine.onnx

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import cpledge.core.Engine
import cpledge.core.EntryPoint
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import cpledge.core.directFloats
import java.io.File
import java.nio.FloatBuffer

/**
 * ONNX Runtime on the CPU. ONNX has no entry points: one graph has the inputs x and, but for a
 * pinned build, w (all zeros let it route by itself), and the outputs y, w and logits.
 *
 * Inputs and outputs are used where they are: tensors over direct buffers, given to every call.
 *
 * @throws ModelException not an ONNX file, or not one of cpl_edge.
 */
class OnnxEngine(file: File, threads: Int) : Engine {
    private val environment = OrtEnvironment.getEnvironment()
    private var session: OrtSession? = null
    override val info: ModelInfo
    private val imageInput: String
    private val weightsInput: String?
    private val imageOutput: String
    private val logitsOutput: String?
    private val zeros: FloatBuffer

    override val runs: String get() = "ONNX Runtime ${environment.version}, CPU"

    init {
        val opened = try {
            OrtSession.SessionOptions().use { options ->
                options.setIntraOpNumThreads(threads)
                options.setInterOpNumThreads(1)
                options.setCPUArenaAllocator(false) // the arena would keep what it once had
                environment.createSession(OnnxFile.requireInputs(file.readBytes()), options)
            }
        } catch (error: OrtException) {
            throw ModelException("${file.name} is damaged or no ONNX model: copy it again", error)
        } catch (error: IllegalArgumentException) {
            throw ModelException("${file.name} is damaged or no ONNX model: copy it again", error)
        }
        session = opened
        try {
            val description = opened.metadata.getCustomMetadataValue(ModelInfo.KEY).orElse(null)
            info = ModelInfo.fromJson(description, file.name)
            val inputs = shapes(opened.inputInfo.mapValues { it.value.info as TensorInfo })
            val outputs = shapes(opened.outputInfo.mapValues { it.value.info as TensorInfo })
            imageInput = only(file, inputs, info.imageShape.asList(), "x")
            imageOutput = only(file, outputs, info.imageShape.asList(), "y")
            weightsInput = if (EntryPoint.RESTORE in info) {
                only(file, inputs, info.weightsShape.asList(), "w")
            } else {
                null
            }
            val logits = listOf(1L, info.sites.toLong(), info.logits.toLong())
            logitsOutput =
                if (EntryPoint.ROUTE in info) only(file, outputs, logits, "logits") else null
            zeros = directFloats(info.sites * info.prompts)
        } catch (error: Exception) {
            opened.close()
            throw error
        }
    }

    override fun run(
        entry: EntryPoint,
        image: FloatBuffer,
        weights: FloatBuffer?,
        out: FloatBuffer,
    ) {
        val session = checkNotNull(session) { "the engine is closed" }
        check(entry in info) { "no entry point $entry" }
        val isRoute = entry == EntryPoint.ROUTE
        val result = if (isRoute) checkNotNull(logitsOutput) else imageOutput
        val outShape = if (isRoute) {
            longArrayOf(1, info.sites.toLong(), info.logits.toLong())
        } else {
            info.imageShape
        }
        val given = if (entry == EntryPoint.RESTORE) checkNotNull(weights) else zeros
        val tensors = ArrayList<OnnxTensor>(3)
        try {
            val inputs = LinkedHashMap<String, OnnxTensor>()
            inputs[imageInput] = tensor(image, info.imageShape, tensors)
            weightsInput?.let { inputs[it] = tensor(given, info.weightsShape, tensors) }
            session.run(inputs, mapOf(result to tensor(out, outShape, tensors))).close()
        } catch (error: OrtException) {
            throw ModelException("ONNX Runtime failed: ${error.message}", error)
        } finally {
            tensors.forEach { it.close() }
        }
    }

    override fun close() {
        session?.close()
        session = null
    }

    private fun tensor(
        data: FloatBuffer,
        shape: LongArray,
        all: MutableList<OnnxTensor>,
    ): OnnxTensor {
        data.rewind()
        return OnnxTensor.createTensor(environment, data, shape).also { all += it }
    }

    private fun shapes(infos: Map<String, TensorInfo>): Map<String, List<Long>> =
        infos.mapValues { it.value.shape.asList() }

    /** Exporters name tensors as they like, so the shape tells which is which. */
    private fun only(
        file: File,
        tensors: Map<String, List<Long>>,
        shape: List<Long>,
        what: String,
    ): String = tensors.filterValues { it == shape }.keys.singleOrNull()
        ?: throw ModelException(
            "${file.name} has no $what of the shape $shape that it describes: export it again",
        )
}
