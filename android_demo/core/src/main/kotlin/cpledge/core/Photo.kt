package cpledge.core

/** A photo to read: pixels as ARGB ints (8 bits each, not premultiplied), as Android has them. */
interface PhotoSource {
    val width: Int
    val height: Int

    /** Copy part of row [y], from column [x] on, to the start of [into]. */
    fun readRow(x: Int, y: Int, count: Int, into: IntArray)
}

/** Where a restored photo goes; of the same size as its source. */
interface PhotoSink {
    /** Write a rectangle; pixels row by row without gaps from the start of [pixels]. */
    fun write(x: Int, y: Int, width: Int, height: Int, pixels: IntArray)
}

/** A photo in an int array: for tests, and for small pictures. */
class ArrayPhoto(override val width: Int, override val height: Int, val pixels: IntArray) :
    PhotoSource, PhotoSink {
    constructor(width: Int, height: Int) : this(width, height, IntArray(width * height))

    init {
        require(pixels.size == width * height) { "${pixels.size} pixels are not $width x $height" }
    }

    override fun readRow(x: Int, y: Int, count: Int, into: IntArray) {
        System.arraycopy(pixels, y * width + x, into, 0, count)
    }

    override fun write(x: Int, y: Int, width: Int, height: Int, pixels: IntArray) {
        for (row in 0 until height) {
            System.arraycopy(pixels, row * width, this.pixels, (y + row) * this.width + x, width)
        }
    }
}
