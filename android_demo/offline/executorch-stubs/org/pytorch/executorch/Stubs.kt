// Signatures of ExecuTorch 1.4's Kotlin API that the app uses, without any function: they let the
// adapter be compiled where the AAR cannot be had. They never reach an APK.
package org.pytorch.executorch

import java.io.Closeable
import java.nio.FloatBuffer

private fun stub(): Nothing = throw UnsupportedOperationException("a stub of ExecuTorch")

abstract class Tensor {
    fun numel(): Long = stub()
    open fun copyDataInto(dst: FloatBuffer) { stub() }
    companion object {
        @JvmStatic fun fromBlob(data: FloatBuffer, shape: LongArray): Tensor = stub()
    }
}

class EValue private constructor() {
    fun toTensor(): Tensor = stub()
    fun toStr(): String = stub()
    companion object {
        @JvmStatic fun from(value: Tensor): EValue = stub()
    }
}

open class Module private constructor() : Closeable {
    open fun execute(methodName: String, vararg inputs: EValue): Array<EValue> = stub()
    open fun getMethods(): Array<String> = stub()
    open fun destroy() { stub() }
    override fun close() = destroy()
    companion object {
        const val LOAD_MODE_MMAP = 1
        @JvmStatic @JvmOverloads
        fun load(modelPath: String?, loadMode: Int = 0, numThreads: Int = 0): Module = stub()
    }
}
