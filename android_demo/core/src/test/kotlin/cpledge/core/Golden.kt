package cpledge.core

import org.json.JSONArray
import org.json.JSONObject
import java.io.File
import java.nio.FloatBuffer
import javax.imageio.ImageIO

/** The files that `tests/android/write_golden.py` wrote, and models that do little. */
object Golden {
    fun file(name: String): File = File(javaClass.getResource("/golden/$name")!!.toURI())

    fun json(name: String): JSONObject = JSONObject(file(name).readText())

    val values: JSONObject by lazy { json("values.json") }

    fun photo(name: String): ArrayPhoto {
        val image = ImageIO.read(file(name))
        val pixels = image.getRGB(0, 0, image.width, image.height, null, 0, image.width)
        return ArrayPhoto(image.width, image.height, pixels)
    }

    val info: ModelInfo by lazy {
        ModelInfo.fromJson(values.getJSONObject("descriptions").getJSONArray("accepted").getString(0), "golden")
    }
}

fun JSONArray.objects(): List<JSONObject> = List(length()) { getJSONObject(it) }

fun JSONArray.strings(): List<String> = List(length()) { getString(it) }

fun JSONArray.ints(): List<Int> = List(length()) { getInt(it) }

fun JSONArray.floats(): FloatArray = FloatArray(length()) { getDouble(it).toFloat() }

/** An engine whose image is a function of its input; every router output is 0 but the given. */
open class StubEngine(
    override val info: ModelInfo,
    private val logits: FloatArray = FloatArray(info.sites * info.logits),
    private val value: (Float) -> Float = { it },
) : Engine {
    override val runs = "stub"
    val calls = mutableListOf<EntryPoint>()
    val given = mutableListOf<FloatArray>()

    override fun run(entry: EntryPoint, image: FloatBuffer, weights: FloatBuffer?, out: FloatBuffer) {
        calls += entry
        if (entry == EntryPoint.ROUTE) {
            for (i in logits.indices) out.put(i, logits[i])
            return
        }
        if (entry == EntryPoint.RESTORE) given += FloatArray(weights!!.capacity()) { weights.get(it) }
        for (i in 0 until info.imageSize) out.put(i, value(image.get(i)))
    }

    override fun close() = Unit
}
