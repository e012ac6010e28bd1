package cpledge.engine.executorch

import cpledge.core.Engine
import cpledge.core.EntryPoint
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import cpledge.core.chosenFunction
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor
import java.io.File
import java.nio.FloatBuffer

/**
 * ExecuTorch with XNNPACK: a method for each of [ModelInfo.functions], and one that returns the
 * description.
 *
 * The file is mapped (the default reads it into memory), inputs are used where they are, and
 * outputs, which are native memory until the next call, are copied out at once.
 *
 * @throws ModelException not an ExecuTorch program, or not one of cpl_edge.
 */
class ExecuTorchEngine(file: File, threads: Int) : Engine {
    private var module: Module? = null
    override val info: ModelInfo

    override val runs: String get() = "ExecuTorch, XNNPACK, CPU"

    init {
        val opened = try {
            Module.load(file.path, Module.LOAD_MODE_MMAP, threads)
        } catch (error: RuntimeException) { // its own exception is one of these
            throw ModelException("${file.name} is damaged or no ExecuTorch program", error)
        }
        module = opened
        try {
            val methods = opened.getMethods().toSet()
            val text = if (ModelInfo.KEY in methods) {
                opened.execute(ModelInfo.KEY)[0].toStr()
            } else {
                null
            }
            info = ModelInfo.fromJson(text, file.name)
            info.functions.keys.firstOrNull { it !in methods }?.let {
                throw ModelException("${file.name} lacks its entry point '$it'")
            }
        } catch (error: RuntimeException) {
            opened.destroy()
            throw ModelException("${file.name} is damaged: copy or export it again", error)
        } catch (error: ModelException) {
            opened.destroy()
            throw error
        }
    }

    override fun run(
        entry: EntryPoint,
        image: FloatBuffer,
        weights: FloatBuffer?,
        out: FloatBuffer,
    ) {
        val module = checkNotNull(module) { "the engine is closed" }
        val function = info.chosenFunction(entry, weights)
        image.rewind()
        val inputs = mutableListOf(EValue.from(Tensor.fromBlob(image, info.imageShape)))
        if (entry == EntryPoint.RESTORE) {
            val given = checkNotNull(weights)
            given.rewind()
            inputs += EValue.from(Tensor.fromBlob(given, info.weightsShape))
        }
        try {
            val size = out.capacity().toLong()
            val result = module.execute(function, *inputs.toTypedArray())
                .map { it.toTensor() }.first { it.numel() == size }
            out.clear()
            result.copyDataInto(out)
        } catch (error: RuntimeException) {
            throw ModelException("ExecuTorch failed: ${error.message}", error)
        }
        out.rewind()
    }

    override fun close() {
        module?.destroy()
        module = null
    }
}
