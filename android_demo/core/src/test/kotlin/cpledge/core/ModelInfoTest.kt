package cpledge.core

import org.json.JSONObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class ModelInfoTest {
    private val golden = Golden.values.getJSONObject("descriptions")

    /** The description of a split file, with something else for `own`; null leaves it out. */
    private fun described(own: Any?): String {
        val split = golden.getJSONArray("accepted").getString(3)
        return JSONObject(split).put("own", own).toString()
    }

    @Test
    fun `reads what Python writes`() {
        val all = golden.getJSONArray("accepted").strings().map { ModelInfo.fromJson(it, "a file") }
        val info = all[0]
        assertEquals("golden", info.student)
        assertEquals(listOf("noise", "blur", "rain", "haze", "lowlight"), info.degradations)
        assertEquals(15, info.prompts)
        assertEquals(20, info.logits)
        assertEquals(EntryPoint.entries.toSet(), info.entryPoints)
        assertEquals(listOf(1L, 3L, 96L, 96L), info.imageShape.asList())
        assertEquals("rain", all[2].pinned)
        assertEquals(Routing.SPLIT, all[3].routing)
    }

    @Test
    fun `restore is one function, or one for each degradation`() {
        for (text in listOf(described(false), described(null))) {
            val info = ModelInfo.fromJson(text, "a file")
            assertFalse(info.own)
            assertEquals(
                mapOf("route" to EntryPoint.ROUTE, "restore" to EntryPoint.RESTORE), info.functions,
            )
        }
        val own = ModelInfo.fromJson(described(true), "a file")
        val restorers = listOf("noise", "blur", "rain", "haze", "lowlight").map { "restore_$it" }
        assertEquals(
            mapOf("route" to EntryPoint.ROUTE) + restorers.associateWith { EntryPoint.RESTORE },
            own.functions,
        )
    }

    @Test
    fun `own is true or false`() {
        for (own in listOf(1, "true", JSONObject.NULL)) {
            val error = assertThrows(ModelException::class.java) {
                ModelInfo.fromJson(described(own), "a file")
            }
            assertTrue("says own $own instead of true or false" in error.message!!, error.message)
        }
    }

    @Test
    fun `the degradation whose prompts weigh most chooses the function`() {
        val own = Golden.info.copy(sites = 2, own = true)
        val weights = directFloats(own.sites * own.prompts)
        weights.put(3, 0.4f) // blur has the largest weight
        for (at in listOf(12, 13, 14, 15 + 12)) weights.put(at, 0.15f) // low light has more in all
        weights.position(7) // wherever it was left
        assertEquals("restore_lowlight", own.chosenFunction(EntryPoint.RESTORE, weights))
        assertEquals("restore", own.copy(own = false).chosenFunction(EntryPoint.RESTORE, weights))
        assertEquals("route", own.chosenFunction(EntryPoint.ROUTE, null))
        assertEquals(7, weights.position())
    }

    @Test
    fun `of equal weights the first degradation chooses`() {
        val own = Golden.info.copy(own = true)
        val weights = directFloats(own.prompts)
        for (at in listOf(4, 6)) weights.put(at, 0.5f)
        assertEquals("restore_blur", own.chosenFunction(EntryPoint.RESTORE, weights))
    }

    @Test
    fun `refuses what Python refuses, in one line`() {
        for (text in golden.getJSONArray("refused").strings()) {
            val error = assertThrows(ModelException::class.java, { ModelInfo.fromJson(text, "a file") }, text)
            assertTrue("a file" in error.message!! && '\n' !in error.message!!, error.message)
        }
    }

    @Test
    fun `a file without description says what to do`() {
        val error = assertThrows(ModelException::class.java) { ModelInfo.fromJson(null, "a.onnx") }
        assertTrue("export it with cpl_edge" in error.message!!)
    }
}
