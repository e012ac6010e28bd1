package cpledge.app

import android.content.ComponentCallbacks2
import android.graphics.Bitmap
import android.net.Uri
import android.os.Handler
import android.os.Looper
import cpledge.core.Choice
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import cpledge.core.Restored
import cpledge.core.Restorer
import java.io.File
import java.io.IOException
import java.util.concurrent.CancellationException
import java.util.concurrent.Executors

/** What came out, for the screen. */
class Outcome(
    val restored: Restored,
    val info: ModelInfo,
    val runs: String,
    val threads: Int,
    val memoryPeakMb: Double?,
)

/**
 * The photo on the main screen and the work on it. Everything here is used from the main thread;
 * the work itself is done by one worker thread, whose results are posted back.
 */
class Restoring(private val app: DemoApplication) {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())

    @Volatile private var isCancelled = false

    private var next: Uri? = null

    var photo: OpenPhoto? = null
        private set
    var result: Bitmap? = null
        private set
    var outcome: Outcome? = null
        private set

    /** What is being done, or null. */
    var busy: Busy? = null
        private set
    var tilesDone = 0
        private set
    var tilesAll = 0
        private set

    /** What went wrong or was reached last, for the user; null if there is nothing to say. */
    var message: String? = null
        private set

    /** Told after every change. */
    var listener: (() -> Unit)? = null

    enum class Busy { OPENING, RESTORING, WRITING }

    /** Read a photo and show it, instead of what is being done. */
    fun open(uri: Uri) {
        if (busy != null) {
            next = uri
            cancel()
        } else {
            work(Busy.OPENING) { read(uri) }
        }
    }

    private fun read(uri: Uri): () -> Unit {
        val opened = app.photos.open(uri)
        return then {
            photo = opened
            result = null
            outcome = null
            message = opened.reducedFrom?.let { (width, height) ->
                app.getString(
                    R.string.reduced, width, height, opened.bitmap.width, opened.bitmap.height,
                )
            }
        }
    }

    /** Restore the photo. */
    fun restore(build: File, threads: Int, choice: Choice) {
        val source = photo ?: return
        result = null // before another is made: two bitmaps at a time, not three
        outcome = null
        tilesDone = 0
        tilesAll = 0
        work(Busy.RESTORING) {
            val start = System.nanoTime()
            val (bitmap, done) = app.builds.kind(build).open(build, threads).use { engine ->
                val loadMs = (System.nanoTime() - start) / 1e6
                val bitmap = Bitmap.createBitmap(
                    source.bitmap.width, source.bitmap.height, Bitmap.Config.ARGB_8888,
                )
                val restored = Restorer(engine, loadMs).restore(
                    BitmapPhoto(source.bitmap), BitmapPhoto(bitmap), choice, { isCancelled },
                ) { done, all -> main.post { progress(done, all) } }
                bitmap to
                    Outcome(restored, engine.info, engine.runs, threads, Phone.memoryPeakMb())
            }
            then {
                result = bitmap
                outcome = done
                message = null
            }
        }
    }

    /** Stop before the next tile. */
    fun cancel() {
        isCancelled = true
    }

    /** Write the result to a document that the user made. */
    fun save(target: Uri) = write { photo, result ->
        val stream = app.contentResolver.openOutputStream(target, "w") ?: throw IOException()
        stream.use { app.photos.write(photo, result, it) }
        then { message = app.getString(R.string.saved) }
    }

    /** Make the result ready for another app, then call [send] with where it is. */
    fun share(send: (Uri) -> Unit) = write { photo, result ->
        val uri = app.photos.share(photo, result)
        then { send(uri) }
    }

    /** Under pressure, in the background, a result that can be made again is worth less than us. */
    fun trimMemory(level: Int) {
        if (level >= ComponentCallbacks2.TRIM_MEMORY_MODERATE && busy == null && result != null) {
            result = null
            outcome = null
            message = app.getString(R.string.trimmed)
            listener?.invoke()
        }
    }

    private fun write(step: (OpenPhoto, Bitmap) -> () -> Unit) {
        val source = photo ?: return
        val restored = result ?: return
        work(Busy.WRITING) { step(source, restored) }
    }

    private fun progress(done: Int, all: Int) {
        tilesDone = done
        tilesAll = all
        listener?.invoke()
    }

    /** What is left to do on the main thread. */
    private fun then(step: () -> Unit): () -> Unit = step

    /** Do [job] on the worker, then what it returns here; say so if it fails. */
    private fun work(kind: Busy, job: () -> () -> Unit) {
        if (busy != null) return
        busy = kind
        isCancelled = false
        message = null
        listener?.invoke()
        worker.execute {
            val finish = try {
                job()
            } catch (error: Exception) {
                failure(kind, error)
            } catch (_: OutOfMemoryError) {
                then { message = app.getString(R.string.out_of_memory) }
            }
            main.post {
                busy = null
                finish()
                listener?.invoke()
                next?.let {
                    next = null
                    open(it)
                }
            }
        }
    }

    private fun failure(kind: Busy, error: Exception): () -> Unit = then {
        message = when {
            error is CancellationException -> app.getString(R.string.cancelled)
            error is ModelException -> error.message
            kind == Busy.OPENING -> app.getString(R.string.no_photo)
            kind == Busy.WRITING -> app.getString(R.string.not_written)
            else -> error.message ?: error.toString()
        }
    }
}
