package cpledge.app

import android.app.ActivityManager
import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import android.graphics.Matrix
import android.net.Uri
import android.os.Build
import cpledge.core.Exif
import cpledge.core.PhotoSink
import cpledge.core.PhotoSource
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream

/** A bitmap as the core reads and writes it, tile by tile. */
class BitmapPhoto(private val bitmap: Bitmap) : PhotoSource, PhotoSink {
    override val width: Int = bitmap.width
    override val height: Int = bitmap.height

    override fun readRow(x: Int, y: Int, count: Int, into: IntArray) =
        bitmap.getPixels(into, 0, count, x, y, count, 1)

    override fun write(x: Int, y: Int, width: Int, height: Int, pixels: IntArray) =
        bitmap.setPixels(pixels, 0, width, x, y, width, height)
}

/**
 * A photo that was read.
 *
 * @property bitmap upright, sRGB.
 * @property exif what to write into the result; null if there is none.
 * @property reducedFrom width and height of the file if that was too large for this phone.
 */
class OpenPhoto(
    val uri: Uri,
    val name: String,
    val bitmap: Bitmap,
    val isLossless: Boolean,
    val exif: Exif?,
    val reducedFrom: Pair<Int, Int>?,
)

/** Reads photos and writes results. Call from a worker thread. */
class Photos(private val context: Context) {
    /**
     * Read a photo.
     *
     * @throws IOException it cannot be read, or is no image.
     * @throws SecurityException it is not ours to read any more.
     */
    fun open(uri: Uri): OpenPhoto {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        stream(uri).use { BitmapFactory.decodeStream(it, null, bounds) }
        if (bounds.outWidth <= 0 || bounds.outHeight <= 0) throw IOException("no image")
        val exif = stream(uri).use { Exif.read(it) }
        val options = BitmapFactory.Options().apply {
            inSampleSize = sampleSize(bounds.outWidth.toLong() * bounds.outHeight)
            inPreferredConfig = Bitmap.Config.ARGB_8888
            if (Build.VERSION.SDK_INT >= 26) {
                inPreferredColorSpace = ColorSpace.get(ColorSpace.Named.SRGB)
            }
        }
        val decoded = stream(uri).use { BitmapFactory.decodeStream(it, null, options) }
            ?: throw IOException("no image")
        val size = bounds.outWidth to bounds.outHeight
        return OpenPhoto(
            uri = uri,
            name = (Builds.displayName(context, uri) ?: "photo").substringBeforeLast('.'),
            bitmap = upright(decoded, exif?.orientation ?: 1),
            isLossless = bounds.outMimeType !in LOSSY,
            exif = exif?.upright(),
            reducedFrom = size.takeIf { options.inSampleSize > 1 },
        )
    }

    /** Write a result in the photo's own kind of file: JPEG with its EXIF, else PNG. */
    fun write(photo: OpenPhoto, result: Bitmap, out: OutputStream) {
        val exif = photo.exif
        val isPng = photo.isLossless
        val target = when {
            exif == null -> out
            isPng -> exif.intoPng(out)
            else -> exif.intoJpeg(out)
        }
        val format = if (isPng) Bitmap.CompressFormat.PNG else Bitmap.CompressFormat.JPEG
        if (!result.compress(format, JPEG_QUALITY, target)) throw IOException("no space left")
        target.flush()
    }

    fun resultName(photo: OpenPhoto): String =
        "${photo.name}_restored" + if (photo.isLossless) ".png" else ".jpg"

    fun mimeType(photo: OpenPhoto): String = if (photo.isLossless) "image/png" else "image/jpeg"

    /** Write a result where [ShareProvider] serves it. */
    fun share(photo: OpenPhoto, result: Bitmap): Uri {
        val file = ShareProvider.fresh(context, resultName(photo))
        file.outputStream().use { write(photo, result, it) }
        return ShareProvider.uri(file)
    }

    /** The photos that come with the app. */
    fun bundled(): List<Uri> = context.assets.list(BUNDLED).orEmpty().sorted()
        .map { Uri.parse("file:///$ASSETS/$BUNDLED/$it") }

    private fun stream(uri: Uri): InputStream {
        val path = uri.pathSegments
        return if (uri.scheme == "file" && path.firstOrNull() == ASSETS) {
            context.assets.open(path.drop(1).joinToString(File.separator))
        } else {
            context.contentResolver.openInputStream(uri) ?: throw IOException("nothing there")
        }
    }

    /** Photo and result have to fit, and a canvas draws no bitmap of more than 100 MB. */
    private fun sampleSize(pixels: Long): Int {
        val most = minOf(MOST_PIXELS, freeBytes() / (2 * 2 * BYTES_PER_PIXEL))
        var size = 1
        while (pixels / (size.toLong() * size) > most) size *= 2
        return size
    }

    private fun freeBytes(): Long {
        if (Build.VERSION.SDK_INT < 26) return Runtime.getRuntime().maxMemory() // bitmaps are heap
        val memory = ActivityManager.MemoryInfo()
        val manager = context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager
        manager.getMemoryInfo(memory)
        return maxOf(memory.availMem - memory.threshold, LEAST_BYTES)
    }

    /** EXIF's eight orientations as a turn and a mirror. */
    private fun upright(bitmap: Bitmap, orientation: Int): Bitmap {
        val matrix = Matrix()
        when (orientation) {
            3, 4 -> matrix.postRotate(180f)
            5, 6 -> matrix.postRotate(90f)
            7, 8 -> matrix.postRotate(270f)
        }
        if (orientation in setOf(2, 4, 5, 7)) matrix.postScale(-1f, 1f)
        if (matrix.isIdentity) return bitmap
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, false)
            .also { if (it !== bitmap) bitmap.recycle() }
    }

    private companion object {
        const val ASSETS = "android_asset"
        const val BUNDLED = "photos"
        const val JPEG_QUALITY = 95
        const val BYTES_PER_PIXEL = 4
        const val MOST_PIXELS = 24_000_000L
        const val LEAST_BYTES = 64_000_000L
        val LOSSY = setOf("image/jpeg", "image/webp", "image/heif", "image/heic", "image/avif")
    }
}
