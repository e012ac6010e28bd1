package cpledge.app

import android.content.Context
import android.net.Uri
import android.provider.OpenableColumns
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import java.io.File
import java.io.IOException
import java.util.concurrent.ConcurrentHashMap

/**
 * The model files that the user can choose: those of the APK, copied out (runtimes want a file),
 * and those that were added. Call from a worker thread.
 */
class Builds(private val context: Context) {
    private val folder = File(context.filesDir, FOLDER)
    private val known = ConcurrentHashMap<String, ModelInfo>()

    /** All model files, sorted by name. */
    fun list(): List<File> {
        copyAssets()
        return folder.listFiles().orEmpty()
            .filter { EngineKind.of(it.name) != null }.sortedBy { it.name }
    }

    /**
     * What a file says about itself; asks its engine once.
     *
     * @throws ModelException see [EngineKind.open].
     */
    fun describe(file: File): ModelInfo {
        val key = "${file.name} ${file.lastModified()} ${file.length()}"
        return known.getOrPut(key) { kind(file).open(file, 1).use { it.info } }
    }

    fun kind(file: File): EngineKind =
        EngineKind.of(file.name) ?: throw ModelException("${file.name} is no model file")

    /**
     * Copy a model file that the user picked to the others, unless no engine can open it.
     *
     * @return its name.
     * @throws ModelException not a model file.
     * @throws IOException it cannot be read.
     */
    fun add(uri: Uri): String {
        val name = File(displayName(context, uri) ?: "").name
        if (EngineKind.of(name) == null) {
            val suffixes = EngineKind.entries.joinToString { it.suffix }
            throw ModelException("'$name' is no model file: choose one that ends in $suffixes")
        }
        folder.mkdirs()
        val file = File(folder, name)
        val part = File(folder, "$name.part")
        try {
            val stream = context.contentResolver.openInputStream(uri) ?: throw IOException(name)
            stream.use { from -> part.outputStream().use { from.copyTo(it) } }
            val trial = File(context.cacheDir, name)
            part.copyTo(trial, overwrite = true)
            try {
                describe(trial)
            } finally {
                trial.delete()
            }
            if (!part.renameTo(file)) throw IOException(name)
        } finally {
            part.delete()
        }
        return name
    }

    private fun copyAssets() {
        folder.mkdirs()
        for (name in context.assets.list(FOLDER).orEmpty()) {
            val file = File(folder, name)
            // Stored uncompressed, so its length is known.
            val length = context.assets.openFd("$FOLDER/$name").use { it.declaredLength }
            if (file.length() == length && file.lastModified() >= installed()) continue
            val part = File(folder, "$name.part")
            context.assets.open("$FOLDER/$name").use { from ->
                part.outputStream().use { from.copyTo(it) }
            }
            part.renameTo(file)
        }
    }

    private fun installed(): Long =
        context.packageManager.getPackageInfo(context.packageName, 0).lastUpdateTime

    companion object {
        private const val FOLDER = "builds"

        /** Name of a document as its provider shows it. */
        fun displayName(context: Context, uri: Uri): String? = try {
            val columns = arrayOf(OpenableColumns.DISPLAY_NAME)
            context.contentResolver.query(uri, columns, null, null, null)?.use {
                if (it.moveToFirst()) it.getString(0) else null
            } ?: uri.lastPathSegment
        } catch (_: RuntimeException) { // providers throw what they like
            uri.lastPathSegment
        }
    }
}
