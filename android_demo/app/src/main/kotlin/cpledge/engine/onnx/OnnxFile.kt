package cpledge.engine.onnx

import java.io.ByteArrayOutputStream

/**
 * Turns the optional inputs of an ONNX file into required ones.
 *
 * Our exporter declares the prompt weights as an input with a default: an initialiser of the same
 * name. ONNX Runtime's Java API refuses to be given such an input ("expected [1,1) found 2"), so
 * the initialiser is left out before the session is made. The file is a tree of protobuf fields;
 * two levels of it are copied with that one field missing.
 */
internal object OnnxFile {
    private const val MODEL_GRAPH = 7
    private const val GRAPH_INITIALIZER = 5
    private const val GRAPH_INPUT = 11
    private const val TENSOR_NAME = 8
    private const val VALUE_NAME = 1

    /**
     * @param model bytes of an `.onnx` file.
     * @return the file without the initialisers that are inputs as well; the same array if it has
     *   none.
     * @throws IllegalArgumentException not a protobuf.
     */
    fun requireInputs(model: ByteArray): ByteArray {
        val graph = fields(model, 0, model.size).firstOrNull { it.number == MODEL_GRAPH }
        requireNotNull(graph) { "there is no graph in this file" }
        val parts = fields(model, graph.start, graph.end)
        val inputs = parts.filter { it.number == GRAPH_INPUT }
            .mapNotNull { name(model, it, VALUE_NAME) }.toSet()
        val unwanted = parts.filter {
            it.number == GRAPH_INITIALIZER && name(model, it, TENSOR_NAME) in inputs
        }
        if (unwanted.isEmpty()) return model
        val dropped = unwanted.sumOf { it.end - it.from }
        val out = ByteArrayOutputStream(model.size)
        out.write(model, 0, graph.from)
        writeVarint(out, (MODEL_GRAPH shl 3 or 2).toLong())
        writeVarint(out, (graph.end - graph.start - dropped).toLong())
        var copied = graph.start
        for (field in unwanted) {
            out.write(model, copied, field.from - copied)
            copied = field.end
        }
        out.write(model, copied, model.size - copied)
        return out.toByteArray()
    }

    /** A field: its tag begins at [from], its content lies in [start] until [end]. */
    private class Field(val number: Int, val from: Int, val start: Int, val end: Int)

    private fun name(data: ByteArray, message: Field, number: Int): String? =
        fields(data, message.start, message.end).firstOrNull { it.number == number }
            ?.let { String(data, it.start, it.end - it.start, Charsets.UTF_8) }

    private fun fields(data: ByteArray, start: Int, end: Int): List<Field> {
        val found = mutableListOf<Field>()
        var at = start
        while (at < end) {
            val from = at
            val (tag, content) = varint(data, at, end)
            at = content
            val (first, last) = when ((tag and 7).toInt()) {
                0 -> at to varint(data, at, end).second
                1 -> at to at + 8
                2 -> varint(data, at, end).let { (length, begin) ->
                    require(length in 0..(end - begin)) { "this file is damaged" }
                    begin to begin + length.toInt()
                }
                5 -> at to at + 4
                else -> throw IllegalArgumentException("this file is damaged")
            }
            require(last <= end) { "this file is damaged" }
            found += Field((tag shr 3).toInt(), from, first, last)
            at = last
        }
        return found
    }

    private fun varint(data: ByteArray, start: Int, end: Int): Pair<Long, Int> {
        var value = 0L
        for (i in 0 until 10) {
            require(start + i < end) { "this file is damaged" }
            val byte = data[start + i].toLong()
            value = value or (byte and 0x7F shl 7 * i)
            if (byte >= 0) return value to start + i + 1
        }
        throw IllegalArgumentException("this file is damaged")
    }

    private fun writeVarint(out: ByteArrayOutputStream, value: Long) {
        var rest = value
        while (rest > 0x7F) {
            out.write((rest and 0x7F or 0x80).toInt())
            rest = rest ushr 7
        }
        out.write(rest.toInt())
    }
}
