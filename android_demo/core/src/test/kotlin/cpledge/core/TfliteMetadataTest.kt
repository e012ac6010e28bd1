package cpledge.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import java.nio.ByteBuffer

class TfliteMetadataTest {
    private val file = Golden.file("metadata.tflite").readBytes()

    @Test
    fun `finds the entry that the exporter wrote`() {
        val info = ModelInfo.fromJson(TfliteMetadata.read(ByteBuffer.wrap(file), "cpl_edge", "a"), "a")
        assertEquals("litert", info.target)
        assertEquals(Layout.NHWC, info.layout)
        assertEquals(listOf(1L, 96L, 96L, 3L), info.imageShape.asList())
        assertEquals("unused", TfliteMetadata.read(ByteBuffer.wrap(file), "other", "a"))
        assertNull(TfliteMetadata.read(ByteBuffer.wrap(file), "missing", "a"))
    }

    @Test
    fun `other files are refused`() {
        for (bytes in listOf(ByteArray(0), ByteArray(3), ByteArray(400), "TFL3TFL3".toByteArray())) {
            assertThrows(ModelException::class.java) { TfliteMetadata.read(ByteBuffer.wrap(bytes), "a", "a.tflite") }
        }
    }

    @Test
    fun `damaged files are refused or read, but never crash`() {
        for (length in file.indices step 7) {
            runCatching { TfliteMetadata.read(ByteBuffer.wrap(file.copyOf(length)), "cpl_edge", "a") }
                .onFailure { assertEquals(ModelException::class, it::class, "cut at $length") }
        }
        for (at in file.indices) {
            val damaged = file.copyOf().also { it[at] = (it[at] + 128).toByte() }
            runCatching { TfliteMetadata.read(ByteBuffer.wrap(damaged), "cpl_edge", "a") }
                .onFailure { assertEquals(ModelException::class, it::class, "byte $at") }
        }
    }
}
