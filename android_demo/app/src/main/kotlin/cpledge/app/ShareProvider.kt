package cpledge.app

import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/**
 * Lets another app read what the user shares with it: files of one folder of the cache, read only,
 * and only with the permission that a share intent grants.
 */
class ShareProvider : ContentProvider() {
    override fun onCreate(): Boolean = true

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        if (mode != "r") throw FileNotFoundException("read only")
        return ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun query(
        uri: Uri,
        projection: Array<String>?,
        selection: String?,
        selectionArgs: Array<String>?,
        sortOrder: String?,
    ): Cursor {
        val file = file(uri)
        val values = mapOf(
            OpenableColumns.DISPLAY_NAME to file.name,
            OpenableColumns.SIZE to file.length(),
        )
        val columns = (projection ?: values.keys.toTypedArray()).filter { it in values }
        return MatrixCursor(columns.toTypedArray()).apply { addRow(columns.map { values[it] }) }
    }

    override fun getType(uri: Uri): String = when (file(uri).extension) {
        "png" -> "image/png"
        "jpg" -> "image/jpeg"
        else -> "application/json"
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun delete(uri: Uri, selection: String?, selectionArgs: Array<String>?): Int = 0

    override fun update(
        uri: Uri,
        values: ContentValues?,
        selection: String?,
        selectionArgs: Array<String>?,
    ): Int = 0

    private fun file(uri: Uri): File {
        val name = uri.pathSegments.singleOrNull() ?: throw FileNotFoundException("$uri")
        val folder = folder(checkNotNull(context))
        // From the list of files, so that no name leads out of the folder.
        return folder.listFiles().orEmpty().firstOrNull { it.name == name }
            ?: throw FileNotFoundException("$uri")
    }

    companion object {
        private const val AUTHORITY = "cpledge.app.share"

        private fun folder(context: Context): File = File(context.cacheDir, "shared")

        /** An empty place for one file; what was shared before is removed. */
        fun fresh(context: Context, name: String): File {
            val folder = folder(context)
            folder.deleteRecursively()
            folder.mkdirs()
            return File(folder, File(name).name)
        }

        fun uri(file: File): Uri =
            Uri.Builder().scheme("content").authority(AUTHORITY).appendPath(file.name).build()
    }
}
