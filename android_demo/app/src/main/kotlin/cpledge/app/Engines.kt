package cpledge.app

import cpledge.core.Engine
import cpledge.core.ModelException
import java.io.File
import java.lang.reflect.InvocationTargetException
import java.util.concurrent.ConcurrentHashMap

/**
 * The runtimes that the app knows. Adapters are found by name, so that an APK may leave out any of
 * them, with its library.
 *
 * @property suffix of the model files it opens.
 * @property adapter class of the adapter: a constructor of a file and a number of threads.
 * @property library a class of the runtime itself.
 */
enum class EngineKind(
    val label: String,
    val suffix: String,
    private val adapter: String,
    private val library: String,
) {
    LITERT(
        "LiteRT", ".tflite",
        "cpledge.engine.litert.LiteRtEngine", "org.tensorflow.lite.Interpreter",
    ),
    ONNX(
        "ONNX Runtime", ".onnx",
        "cpledge.engine.onnx.OnnxEngine", "ai.onnxruntime.OrtSession",
    ),
    EXECUTORCH(
        "ExecuTorch", ".pte",
        "cpledge.engine.executorch.ExecuTorchEngine", "org.pytorch.executorch.Module",
    ),
    ;

    /** Whether the APK has it, as far as can be told: a native library shows when it is opened. */
    val isIncluded: Boolean
        get() = this !in broken && try {
            Class.forName(adapter, false, javaClass.classLoader)
            Class.forName(library, false, javaClass.classLoader)
            true
        } catch (_: ClassNotFoundException) {
            false
        }

    /**
     * Open a model file.
     *
     * @throws ModelException the engine is not in this APK, or it refuses the file.
     */
    fun open(file: File, threads: Int): Engine {
        if (!isIncluded) throw missing(null)
        try {
            return Class.forName(adapter)
                .getConstructor(File::class.java, Int::class.javaPrimitiveType)
                .newInstance(file, threads) as Engine
        } catch (error: InvocationTargetException) {
            when (val cause = error.targetException) {
                is LinkageError -> throw missing(cause)
                is ModelException -> throw cause
                else -> throw ModelException("${file.name}: ${cause.message ?: cause}", cause)
            }
        } catch (error: LinkageError) {
            throw missing(error)
        }
    }

    private fun missing(cause: LinkageError?): ModelException {
        if (cause != null) broken += this
        return ModelException("$label is not in this app: install a variant that has it", cause)
    }

    companion object {
        /** Those whose native library could not be loaded. */
        private val broken: MutableSet<EngineKind> = ConcurrentHashMap.newKeySet()

        fun of(name: String): EngineKind? =
            entries.firstOrNull { name.endsWith(it.suffix, ignoreCase = true) }
    }
}
