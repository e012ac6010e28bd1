package cpledge.engine

import cpledge.core.ArrayPhoto
import cpledge.core.Benchmark
import cpledge.core.BuildProfile
import cpledge.core.Choice
import cpledge.core.Conditions
import cpledge.core.EntryPoint
import cpledge.core.Golden
import cpledge.core.Limits
import cpledge.core.ModelException
import cpledge.core.Restorer
import cpledge.core.directFloats
import cpledge.core.floats
import cpledge.core.profileJson
import cpledge.engine.onnx.OnnxEngine
import org.json.JSONObject
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.CsvSource
import java.io.File
import java.security.MessageDigest
import kotlin.math.abs

/** Real inference: the app's ONNX Runtime engine on files of the exporter. */
class OnnxEngineTest {
    private val mixture = Choice.Mixed(listOf(2f, 0f, 1f, 0f, 1f))

    @ParameterizedTest
    @CsvSource("fp32,auto", "fp32,rain", "fp32,mixed", "int8,auto")
    fun `restores as Python does, within one level`(precision: String, name: String) {
        val choice = when (name) {
            "auto" -> Choice.Auto
            "mixed" -> mixture
            else -> Choice.Pinned(name)
        }
        val photo = Golden.photo("photo.png")
        val result = ArrayPhoto(photo.width, photo.height)
        val restored = OnnxEngine(Golden.file("$precision.onnx"), 1).use {
            Restorer(it).restore(photo, result, choice)
        }
        val expected = Golden.json("restored.json").getJSONObject("${precision}_$name")
        val weights = expected.getJSONArray("weights").floats()
        // fp32 libraries differ in the last bits; int8 may round a value the other way.
        assertArrayEquals(weights, restored.weights, if (precision == "fp32") 1e-4f else 1e-2f)
        assertEquals(expected.getString("degradation"), restored.degradation)
        assertEquals(expected.getInt("tiles"), restored.tiles)
        val golden = Golden.photo("${precision}_$name.png")
        val differences = golden.pixels.indices.map { i -> levels(golden.pixels[i], result.pixels[i]) }
        assertTrue(differences.max() <= 1, "$precision $name: ${differences.max()} levels")
        assertTrue(differences.average() < 0.01, "mean ${differences.average()} levels")
        val changed = photo.pixels.indices.count { levels(photo.pixels[it], result.pixels[it]) > 1 }
        assertTrue(changed > photo.pixels.size / 2) // the network did something
    }

    private fun levels(a: Int, b: Int): Int =
        listOf(0, 8, 16, 24).maxOf { abs((a ushr it and 255) - (b ushr it and 255)) }

    @Test
    fun `forward routes by itself`() {
        OnnxEngine(Golden.file("fp32.onnx"), 1).use { engine ->
            val (image, routed, forced) = List(3) { directFloats(engine.info.imageSize) }
            for (i in 0 until image.capacity()) image.put(i, i % 97 / 97f)
            val weights = directFloats(engine.info.prompts)
            engine.run(EntryPoint.FORWARD, image, null, routed)
            weights.put(0, 1f)
            engine.run(EntryPoint.RESTORE, image, weights, forced)
            assertTrue((0 until image.capacity()).any { abs(routed.get(it) - forced.get(it)) > 1e-3 })
            val again = directFloats(engine.info.imageSize)
            engine.run(EntryPoint.FORWARD, image, null, again)
            assertEquals(routed, again) // nothing is left over from the call in between
        }
    }

    @Test
    fun `damaged files are refused in one line`(@TempDir folder: File) {
        val good = Golden.file("fp32.onnx").readBytes()
        val files = listOf(ByteArray(0), ByteArray(99), good.copyOf(good.size / 2), "photo".toByteArray())
        for (bytes in files) {
            val file = File(folder, "a.onnx").apply { writeBytes(bytes) }
            val error = assertThrows(ModelException::class.java) { OnnxEngine(file, 1) }
            assertTrue("a.onnx" in error.message!! && '\n' !in error.message!!, error.message)
        }
    }

    @Test
    fun `a benchmark becomes a profile`() {
        val file = Golden.file("int8.onnx")
        val sha256 = MessageDigest.getInstance("SHA-256").digest(file.readBytes())
            .joinToString("") { "%02x".format(it) }
        val json = OnnxEngine(file, 1).use { engine ->
            val measured = Benchmark(engine, Limits.QUICK).run({ false })
            val build = BuildProfile(
                file.name, file.length(), sha256, engine.info, engine.runs, 1, 12.5, measured,
                99.25, Conditions("none", 80, false, 30.5), Conditions(), null,
            )
            val broken = build.copy(info = null, runs = null, measured = emptyList(), error = "damaged")
            val device = mapOf("model" to "JVM", "cores" to "2")
            profileJson("test", Limits.QUICK, "2026-01-01T00:00:00Z", device, listOf(build, broken))
        }
        System.getProperty("profile.json")?.let { File(it).writeText(json) }
        val root = JSONObject(json)
        assertEquals("quick", root.getString("mode"))
        val build = root.getJSONArray("builds").getJSONObject(0)
        assertEquals("w8a8", build.getJSONObject("info").getString("precision"))
        val restore = build.getJSONObject("entries").getJSONObject("restore")
        assertTrue(restore.getDouble("p50_ms") > 0)
        assertTrue(restore.getDouble("p50_ms") <= restore.getDouble("p99_ms"))
        assertEquals(30.5, build.getJSONObject("before").getDouble("battery_celsius"))
        assertTrue(build.getJSONObject("after").isNull("thermal"))
        assertEquals("damaged", root.getJSONArray("builds").getJSONObject(1).getString("error"))
    }
}
