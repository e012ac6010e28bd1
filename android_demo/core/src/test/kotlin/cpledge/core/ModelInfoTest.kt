package cpledge.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class ModelInfoTest {
    private val golden = Golden.values.getJSONObject("descriptions")

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
