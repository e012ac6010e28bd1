package cpledge.engine

import cpledge.core.ArrayPhoto
import cpledge.core.EntryPoint
import cpledge.core.ModelException
import cpledge.core.Restorer
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
import java.io.File
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
    fun damagedFilesAreRefusedInOneLine() {
        val good = File(golden, "fp32.tflite").readBytes()
        for (bytes in listOf(ByteArray(0), ByteArray(99), good.copyOf(good.size / 2))) {
            val file = folder.newFile().apply { writeBytes(bytes) }
            val error = assertThrows(ModelException::class.java) { LiteRtEngine(file, 1).close() }
            assertTrue(error.message, file.name in error.message!! && '\n' !in error.message!!)
        }
    }
}
