package cpledge.engine

import cpledge.core.ArrayPhoto
import cpledge.core.EntryPoint
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import cpledge.core.Restorer
import cpledge.core.TfliteMetadata
import cpledge.core.directFloats
import cpledge.engine.litert.LiteRtEngine
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import org.tensorflow.lite.Interpreter
import java.io.File
import java.nio.ByteBuffer
import java.nio.FloatBuffer
import javax.imageio.ImageIO
import kotlin.math.abs

/** The app's LiteRT engine on TensorFlow Lite's C API for desktop machines: real inference. */
@RunWith(RobolectricTestRunner::class) // for org.json
@Config(sdk = [34])
class LiteRtEngineTest {
    @get:Rule val folder = TemporaryFolder()
    private val golden = File(System.getProperty("golden")!!)

    private fun photo(name: String): ArrayPhoto {
        val image = ImageIO.read(File(golden, name))
        val pixels = image.getRGB(0, 0, image.width, image.height, null, 0, image.width)
        return ArrayPhoto(image.width, image.height, pixels)
    }

    @Test
    fun restoresAsPythonDoesWithinOneLevel() {
        val source = photo("photo.png")
        val result = ArrayPhoto(source.width, source.height)
        val restored = LiteRtEngine(File(golden, "fp32.tflite"), 1).use {
            Restorer(it).restore(source, result)
        }
        // Written by the ONNX file of the same student.
        val expected = JSONObject(File(golden, "restored.json").readText()).getJSONObject("fp32_auto")
        val weights = expected.getJSONArray("weights")
        for (i in restored.weights!!.indices) {
            assertEquals(weights.getDouble(i), restored.weights!![i].toDouble(), 1e-4)
        }
        val wanted = photo("fp32_auto.png").pixels
        val worst = wanted.indices.maxOf { i ->
            listOf(0, 8, 16, 24).maxOf { abs((wanted[i] ushr it and 255) - (result.pixels[i] ushr it and 255)) }
        }
        assertTrue("$worst levels", worst <= 1)
    }

    @Test
    fun forwardIsRouteAndRestoreInOne() {
        LiteRtEngine(File(golden, "fp32.tflite"), 1).use { engine ->
            val (image, routed, again) = List(3) { directFloats(engine.info.imageSize) }
            for (i in 0 until image.capacity()) image.put(i, i % 97 / 97f)
            engine.run(EntryPoint.FORWARD, image, null, routed)
            val weights = directFloats(engine.info.prompts)
            weights.put(0, 1f)
            engine.run(EntryPoint.RESTORE, image, weights, again)
            assertTrue((0 until image.capacity()).any { abs(routed.get(it) - again.get(it)) > 1e-3 })
            assertEquals(0, again.position())
        }
    }

    @Test
    fun theFunctionOfTheHeaviestDegradationRestores() {
        val builds = File(System.getProperty("builds")!!).listFiles()!!
        for (file in builds.filter { it.extension == "tflite" }) {
            LiteRtEngine(file, 1).use { engine ->
                open(file).use { plain -> callsTheFunctionOfTheHeaviest(engine, plain) }
            }
        }
    }

    /** Of all functions that restore, what the engine gives is what the right one gives. */
    private fun callsTheFunctionOfTheHeaviest(engine: LiteRtEngine, plain: Interpreter) {
        val info = engine.info
        val functions = if (info.own) info.degradations.map { "restore_$it" } else listOf("restore")
        val (image, restored) = List(2) { directFloats(info.imageSize) }
        for (i in 0 until image.capacity()) image.put(i, i % 97 / 97f)
        for (d in info.degradations.indices) {
            val weights = directFloats(info.prompts)
            weights.put(d * info.levels, 0.6f)
            weights.put((d + 1) % info.degradations.size * info.levels, 0.4f)
            engine.run(EntryPoint.RESTORE, image, weights, restored)
            val same = functions.filter { call(plain, it, image, weights) == restored }
            assertEquals(listOf(if (info.own) functions[d] else "restore"), same)
        }
    }

    /** The runtime without the engine. */
    private fun open(file: File): Interpreter {
        val bytes = file.readBytes()
        val direct = ByteBuffer.allocateDirect(bytes.size).apply { put(bytes).rewind() }
        return Interpreter(direct, Interpreter.Options().setNumThreads(1))
    }

    private fun call(plain: Interpreter, function: String, image: FloatBuffer, weights: FloatBuffer): FloatBuffer {
        val inputs = plain.getSignatureInputs(function).associateWith<String, Any> {
            val isImage = plain.getInputTensorFromSignature(it, function).shape().size == 4
            if (isImage) image.rewind() else weights.rewind()
        }
        val out = directFloats(image.capacity())
        plain.runSignature(inputs, mapOf<String, Any>(plain.getSignatureOutputs(function).single() to out), function)
        return out
    }

    @Test
    fun aFileThatLacksTheFunctionsOfItsDegradationsIsRefused() {
        val bytes = File(golden, "fp32.tflite").readBytes()
        val text = TfliteMetadata.read(ByteBuffer.wrap(bytes), ModelInfo.KEY, "a")!!
        val changed = JSONObject(text).put("own", true).put("versions", JSONObject()).toString()
        val at = String(bytes, Charsets.ISO_8859_1).indexOf(text)
        changed.padEnd(text.length).toByteArray().copyInto(bytes, at) // as long as it was
        val file = folder.newFile().apply { writeBytes(bytes) }
        val error = assertThrows(ModelException::class.java) { LiteRtEngine(file, 1).close() }
        assertTrue(error.message, "lacks its entry point 'restore_noise'" in error.message!!)
    }

    @Test
    fun damagedFilesAreRefusedInOneLine() {
        val good = File(golden, "fp32.tflite").readBytes()
        for (bytes in listOf(ByteArray(0), ByteArray(99), good.copyOf(good.size / 2))) {
            val file = folder.newFile().apply { writeBytes(bytes) }
            val error = assertThrows(ModelException::class.java) { LiteRtEngine(file, 1).close() }
            assertTrue(error.message, file.name in error.message!! && '\n' !in error.message!!)
        }
    }
}
