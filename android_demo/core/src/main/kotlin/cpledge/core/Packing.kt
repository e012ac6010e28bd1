package cpledge.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/** A direct buffer in native order, which every engine takes without a copy. */
fun directFloats(count: Int): FloatBuffer =
    ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder()).asFloatBuffer()

/**
 * Packs windows of a photo into a model's input, and the middle of its output back into pixels.
 *
 * All memory is here and used again for every window: two image buffers, one tile of pixels and
 * three rows. Single `put`s into a direct buffer are slow on a phone, so whole rows are copied.
 */
class Packing(private val info: ModelInfo) {
    /** The model's input image, in the layout of its file. */
    val input: FloatBuffer = directFloats(info.imageSize)

    /** The model's output image, in the layout of its file. */
    val output: FloatBuffer = directFloats(info.imageSize)

    private val grid = Grid(1, 1, info)
    private val row = IntArray(info.width)
    private val columns = IntArray(info.width)
    private val core = IntArray(grid.stepRows * grid.stepColumns)
    private val alpha = IntArray(grid.stepColumns)
    private val floats = FloatArray(3 * info.width)

    /** Fill [input] with a window of the photo, reflected where it leaves it. */
    fun pack(photo: PhotoSource, top: Int, left: Int) {
        val width = info.width
        var first = photo.width
        var last = 0
        for (i in 0 until width) {
            columns[i] = reflected(left + i, photo.width)
            first = minOf(first, columns[i])
            last = maxOf(last, columns[i])
        }
        for (y in 0 until info.height) {
            photo.readRow(first, reflected(top + y, photo.height), last - first + 1, row)
            if (info.layout == Layout.NHWC) {
                for (i in 0 until width) {
                    val pixel = row[columns[i] - first]
                    floats[3 * i] = UNIT[pixel shr 16 and 255]
                    floats[3 * i + 1] = UNIT[pixel shr 8 and 255]
                    floats[3 * i + 2] = UNIT[pixel and 255]
                }
                copyIn(3 * width * y, 0, 3 * width)
            } else {
                for (i in 0 until width) {
                    val pixel = row[columns[i] - first]
                    floats[i] = UNIT[pixel shr 16 and 255]
                    floats[width + i] = UNIT[pixel shr 8 and 255]
                    floats[2 * width + i] = UNIT[pixel and 255]
                }
                for (c in 0..2) copyIn((c * info.height + y) * width, c * width, width)
            }
        }
        input.rewind()
    }

    /**
     * Write a tile's core from [output] into the result: clipped, rounded half up, with the photo's
     * own alpha.
     */
    fun unpack(tile: Tile, photo: PhotoSource, result: PhotoSink) {
        val (width, count) = info.width to tile.columns
        for (y in 0 until tile.rows) {
            photo.readRow(tile.column, tile.row + y, count, alpha)
            val start = (info.halo + y) * width + info.halo
            if (info.layout == Layout.NHWC) {
                copyOut(3 * start, 0, 3 * count)
                for (i in 0 until count) {
                    core[y * count + i] =
                        argb(alpha[i], floats[3 * i], floats[3 * i + 1], floats[3 * i + 2])
                }
            } else {
                for (c in 0..2) copyOut(c * info.height * width + start, c * count, count)
                for (i in 0 until count) {
                    core[y * count + i] =
                        argb(alpha[i], floats[i], floats[count + i], floats[2 * count + i])
                }
            }
        }
        result.write(tile.column, tile.row, count, tile.rows, core)
    }

    private fun copyIn(position: Int, from: Int, count: Int) {
        input.position(position)
        input.put(floats, from, count)
    }

    private fun copyOut(position: Int, to: Int, count: Int) {
        output.position(position)
        output.get(floats, to, count)
    }

    companion object {
        private val UNIT = FloatArray(256) { it / 255f }

        private fun argb(alpha: Int, red: Float, green: Float, blue: Float): Int =
            (alpha and -0x1000000) or (byte(red) shl 16) or (byte(green) shl 8) or byte(blue)

        // NaN becomes 0: toInt says so.
        private fun byte(value: Float): Int = (value.coerceIn(0f, 1f) * 255f + 0.5f).toInt()
    }
}
