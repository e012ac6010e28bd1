package cpledge.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class PackingTest {
    private val photo = ArrayPhoto(5, 4, IntArray(20) { 0x40000000 * (it % 4) + 0x010203 * it + 0x201000 })

    private fun channel(pixel: Int, c: Int): Float = (pixel shr (16 - 8 * c) and 255) / 255f

    @Test
    fun `a window is reflected and laid out as the file wants it`() {
        for (layout in Layout.entries) {
            val info = Golden.info.copy(height = 8, width = 12, halo = 2, layout = layout)
            val packing = Packing(info)
            packing.pack(photo, -3, -6)
            for (y in 0 until 8) for (x in 0 until 12) for (c in 0..2) {
                val pixel = photo.pixels[reflected(y - 3, 4) * 5 + reflected(x - 6, 5)]
                val at = if (layout == Layout.NHWC) (y * 12 + x) * 3 + c else (c * 8 + y) * 12 + x
                assertEquals(channel(pixel, c), packing.input.get(at), "$layout $x $y $c")
            }
            assertEquals(0, packing.input.position())
        }
    }

    @Test
    fun `results are clipped, rounded half up and keep the photo's alpha`() {
        val levels = listOf(-0.5f, 0f, 0.4999f / 255, 0.5f / 255, 1.5f / 255, 1f, 3f, Float.NaN)
        val expected = listOf(0, 0, 0, 1, 2, 255, 255, 0)
        for (layout in Layout.entries) {
            val info = Golden.info.copy(height = 8, width = 12, halo = 2, layout = layout)
            val packing = Packing(info)
            val result = ArrayPhoto(5, 4)
            for ((level, byte) in levels.zip(expected)) {
                for (i in 0 until info.imageSize) packing.output.put(i, level)
                packing.unpack(Grid(4, 5, info)[0], photo, result)
                for (i in 0 until 20) {
                    assertEquals(photo.pixels[i] ushr 24, result.pixels[i] ushr 24)
                    assertEquals(byte * 0x010101, result.pixels[i] and 0xFFFFFF, "$level")
                }
            }
        }
    }
}
