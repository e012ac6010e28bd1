package cpledge.core

import java.io.DataInputStream
import java.io.EOFException
import java.io.InputStream
import java.io.OutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32

/**
 * The EXIF block of a photo, carried from the file that was read to the file that is written. It is
 * patched in place and not parsed and written again: maker notes hold offsets into the block.
 *
 * @property data the block, a TIFF file without JPEG's prefix.
 */
class Exif private constructor(private val data: ByteArray) {
    /** 1 to 8, as EXIF numbers them; 1 (upright) where the block does not tell. */
    val orientation: Int
        get() = try {
            val buffer = ordered(data)
            orientationEntry(buffer)?.let { buffer.getShort(it + 8).toInt() }
                ?.takeIf { it in 1..8 } ?: 1
        } catch (_: IndexOutOfBoundsException) {
            1
        }

    /**
     * The block with orientation 1 and without its thumbnail, which shows the old picture; null if
     * it is damaged.
     */
    fun upright(): Exif? = try {
        val buffer = ordered(data.copyOf())
        orientationEntry(buffer)?.let {
            buffer.putShort(it + 2, 3).putInt(it + 4, 1).putShort(it + 8, 1).putShort(it + 10, 0)
        }
        val next = directoryEnd(buffer)
        if (next + 4 <= buffer.capacity()) buffer.putInt(next, 0)
        Exif(buffer.array())
    } catch (_: IndexOutOfBoundsException) {
        null
    }

    /** A stream for a JPEG file that puts the block behind its first marker. */
    fun intoJpeg(out: OutputStream): OutputStream {
        if (PREFIX.size + data.size + 2 > 0xFFFF) return out // does not fit a segment
        val length = PREFIX.size + data.size + 2
        val head = byteArrayOf(-1, 0xE1.toByte(), (length shr 8).toByte(), length.toByte())
        return Inserting(out, 2, head + PREFIX + data)
    }

    /** A stream for a PNG file that puts the block behind its header, as a chunk `eXIf`. */
    fun intoPng(out: OutputStream): OutputStream {
        val typed = "eXIf".toByteArray(Charsets.US_ASCII) + data
        val crc = CRC32().apply { update(typed) }.value.toInt()
        val chunk = ByteBuffer.allocate(8 + typed.size)
        chunk.putInt(data.size).put(typed).putInt(crc)
        return Inserting(out, PNG_HEADER, chunk.array())
    }

    companion object {
        private val PREFIX = "Exif\u0000\u0000".toByteArray(Charsets.US_ASCII)
        private const val PNG_HEADER = 8 + 25 // signature, and the chunk IHDR
        private const val ORIENTATION = 0x0112

        /** Find the block in a JPEG file; null if there is none or this is no JPEG. */
        fun read(stream: InputStream): Exif? {
            val input = DataInputStream(stream.buffered())
            try {
                if (input.readUnsignedShort() != 0xFFD8) return null
                while (true) {
                    val marker = input.readUnsignedShort()
                    if (marker < 0xFFC0 || marker == 0xFFDA) return null // the image begins
                    val length = input.readUnsignedShort() - 2
                    if (length < 0) return null
                    val segment = ByteArray(length)
                    input.readFully(segment)
                    if (marker == 0xFFE1 && segment.startsWith(PREFIX)) {
                        return of(segment.copyOfRange(PREFIX.size, length))
                    }
                }
            } catch (_: EOFException) {
                return null
            }
        }

        /** A block without prefix; null if it is no TIFF file. */
        fun of(data: ByteArray): Exif? =
            if (data.size >= 8 && byteOrder(data) != null) Exif(data) else null

        private fun ByteArray.startsWith(other: ByteArray): Boolean =
            size >= other.size && other.indices.all { this[it] == other[it] }

        private fun byteOrder(data: ByteArray): ByteOrder? =
            when (String(data, 0, 4, Charsets.ISO_8859_1)) {
                "II*\u0000" -> ByteOrder.LITTLE_ENDIAN
                "MM\u0000*" -> ByteOrder.BIG_ENDIAN
                else -> null
            }

        private fun ordered(data: ByteArray): ByteBuffer =
            ByteBuffer.wrap(data).order(checkNotNull(byteOrder(data)))

        /** Position of the orientation in the first directory, or null. */
        private fun orientationEntry(buffer: ByteBuffer): Int? {
            val end = directoryEnd(buffer)
            return (buffer.getInt(4) + 2 until end step 12)
                .firstOrNull { buffer.getShort(it).toInt() == ORIENTATION }
        }

        private fun directoryEnd(buffer: ByteBuffer): Int {
            val start = buffer.getInt(4)
            val end = start + 2 + 12 * (buffer.getShort(start).toInt() and 0xFFFF)
            if (end < start || end > buffer.capacity()) throw IndexOutOfBoundsException()
            return end
        }
    }
}

/** Passes bytes through and inserts others after the first [position] of them. */
private class Inserting(
    private val out: OutputStream,
    private val position: Int,
    private val inserted: ByteArray,
) : OutputStream() {
    private var passed = 0

    override fun write(byte: Int) = write(byteArrayOf(byte.toByte()), 0, 1)

    override fun write(bytes: ByteArray, offset: Int, length: Int) {
        val before = minOf(length, position - passed).coerceAtLeast(0)
        out.write(bytes, offset, before)
        if (passed < position && passed + before == position) out.write(inserted)
        out.write(bytes, offset + before, length - before)
        passed = minOf(passed.toLong() + length, position.toLong()).toInt()
    }

    override fun flush() = out.flush()

    override fun close() = out.close()
}
