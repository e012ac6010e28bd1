package cpledge.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Reads one entry of `Model.metadata` of a TFLite file, which the interpreter's Java API does not
 * offer. A FlatBuffer is tables that point at each other; every read is checked against the end of
 * the file, since the file may be damaged or no TFLite model at all.
 */
object TfliteMetadata {
    // Slots in a table's vtable: 4 + 2 * (position of the field in TensorFlow's schema.fbs).
    private const val MODEL_BUFFERS = 12
    private const val MODEL_METADATA = 16
    private const val METADATA_NAME = 4
    private const val METADATA_BUFFER = 6
    private const val BUFFER_DATA = 4

    /**
     * @param file the whole file; its position and order are left alone.
     * @param key name of the entry.
     * @param where name of the file, for the message.
     * @return the entry as UTF-8, or null if there is none.
     * @throws ModelException not a TFLite file, or a damaged one.
     */
    fun read(file: ByteBuffer, key: String, where: String): String? {
        val data = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)
        return try {
            val isTflite = "TFL3".indices.all { data.get(4 + it).toInt().toChar() == "TFL3"[it] }
            if (!isTflite) {
                throw ModelException("$where is no TFLite model: copy or export it again")
            }
            find(data, key)
        } catch (error: IndexOutOfBoundsException) {
            throw ModelException("$where is damaged: copy or export it again", error)
        }
    }

    private fun find(data: ByteBuffer, key: String): String? {
        val model = data.getInt(0)
        for (entry in tables(data, model, MODEL_METADATA)) {
            val name = field(data, entry, METADATA_NAME) ?: continue
            val number = field(data, entry, METADATA_BUFFER) ?: continue
            if (text(data, indirect(data, name)) != key) continue
            val buffer = tables(data, model, MODEL_BUFFERS).getOrNull(data.getInt(number))
            val content = buffer?.let { field(data, it, BUFFER_DATA) } ?: return null
            return text(data, indirect(data, content))
        }
        return null
    }

    /** Position of a table's field, or null where the table leaves it away. */
    private fun field(data: ByteBuffer, table: Int, slot: Int): Int? {
        val vtable = table - data.getInt(table)
        if (slot >= data.getShort(vtable)) return null
        val offset = data.getShort(vtable + slot).toInt() and 0xFFFF
        return if (offset == 0) null else table + offset
    }

    private fun indirect(data: ByteBuffer, position: Int): Int = position + data.getInt(position)

    private fun tables(data: ByteBuffer, table: Int, slot: Int): List<Int> {
        val vector = indirect(data, field(data, table, slot) ?: return emptyList())
        val length = data.getInt(vector)
        if (length < 0 || length > data.capacity() / 4) throw IndexOutOfBoundsException()
        return List(length) { indirect(data, vector + 4 + 4 * it) }
    }

    /** A string or a vector of bytes: its length, then the bytes. */
    private fun text(data: ByteBuffer, vector: Int): String {
        val length = data.getInt(vector)
        if (length < 0 || length > data.capacity() - vector) throw IndexOutOfBoundsException()
        val bytes = ByteArray(length)
        for (i in 0 until length) bytes[i] = data.get(vector + 4 + i)
        return String(bytes, Charsets.UTF_8)
    }
}
