package cpledge.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test
import java.awt.image.BufferedImage
import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import javax.imageio.ImageIO

class ExifTest {
    /** Orientation 6 and a maker, and a link to a thumbnail. */
    private fun block(order: ByteOrder): ByteArray {
        val mark = if (order == ByteOrder.LITTLE_ENDIAN) "II*\u0000" else "MM\u0000*"
        val buffer = ByteBuffer.allocate(64).order(order)
        buffer.put(mark.toByteArray(Charsets.ISO_8859_1)).putInt(8).putShort(2)
        buffer.putShort(0x010F).putShort(2).putInt(4).put("Box\u0000".toByteArray())
        buffer.putShort(0x0112).putShort(3).putInt(1).putShort(6).putShort(0)
        buffer.putInt(48)
        return buffer.array()
    }

    private fun image(format: String, exif: Exif?): ByteArray {
        val bytes = ByteArrayOutputStream()
        val out = when {
            exif == null -> bytes
            format == "png" -> exif.intoPng(bytes)
            else -> exif.intoJpeg(bytes)
        }
        ImageIO.write(BufferedImage(9, 5, BufferedImage.TYPE_INT_RGB), format, out)
        out.flush()
        return bytes.toByteArray()
    }

    @Test
    fun `goes from JPEG to JPEG upright, with all else as it was`() {
        for (order in listOf(ByteOrder.LITTLE_ENDIAN, ByteOrder.BIG_ENDIAN)) {
            val source = image("jpg", Exif.of(block(order)))
            val exif = Exif.read(source.inputStream())!!
            assertEquals(6, exif.orientation)
            val written = image("jpg", exif.upright())
            val kept = Exif.read(written.inputStream())!!
            assertEquals(1, kept.orientation)
            assertNotNull(ImageIO.read(written.inputStream()))
            assertEquals(image("jpg", null).size + 4 + 6 + 64, written.size)
            assertEquals(true, String(written, Charsets.ISO_8859_1).contains("Box"))
            assertEquals(6, exif.orientation) // untouched
        }
    }

    @Test
    fun `a PNG gets a chunk that readers accept`() {
        val written = image("png", Exif.of(block(ByteOrder.BIG_ENDIAN))!!.upright())
        assertEquals(9, ImageIO.read(written.inputStream()).width)
        assertEquals("eXIf", String(written, 33 + 4, 4))
    }

    @Test
    fun `what is damaged or missing is left away`() {
        val good = block(ByteOrder.LITTLE_ENDIAN)
        assertNull(Exif.of(ByteArray(64)))
        assertNull(Exif.of(good.copyOf(7)))
        assertNull(Exif.of(good.copyOf(20))!!.upright())
        assertEquals(1, Exif.of(good.copyOf(20))!!.orientation)
        for (at in 4 until 10) {
            val damaged = good.copyOf().also { it[at] = -1 }
            Exif.of(damaged)!!.upright()
            Exif.of(damaged)!!.orientation
        }
        assertNull(Exif.read(image("jpg", null).inputStream()))
        assertNull(Exif.read(image("png", null).inputStream()))
        assertNull(Exif.read(ByteArray(0).inputStream()))
        assertNull(Exif.read(image("jpg", Exif.of(good)).copyOf(30).inputStream()))
    }

    @Test
    fun `a block too long for a segment is left away`() {
        val plain = image("jpg", null)
        val long = Exif.of(block(ByteOrder.LITTLE_ENDIAN).copyOf(70_000))
        assertArrayEquals(plain, image("jpg", long))
    }
}
