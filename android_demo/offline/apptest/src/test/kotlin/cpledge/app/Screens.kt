package cpledge.app

import android.app.Activity
import android.graphics.Bitmap
import android.graphics.Canvas
import android.os.Looper
import android.view.View
import android.widget.Spinner
import android.widget.TextView
import org.junit.Assert.assertTrue
import org.robolectric.Shadows.shadowOf
import java.io.File

/** What a user does, sees and waits for. */
fun Activity.text(id: Int): String = findViewById<TextView>(id).text.toString()

fun Activity.click(id: Int) {
    val view = findViewById<View>(id)
    assertTrue("cannot be clicked: ${resources.getResourceEntryName(id)}", view.isEnabled)
    view.performClick()
    shadowOf(Looper.getMainLooper()).idle()
}

fun Activity.choose(id: Int, start: String) {
    val spinner = findViewById<Spinner>(id)
    val items = List(spinner.adapter.count) { spinner.adapter.getItem(it).toString() }
    val at = items.indexOfFirst { it.startsWith(start) }
    assertTrue("$start is not among $items", at >= 0)
    spinner.setSelection(at)
    // A laid-out spinner tells its listener; nobody lays out here.
    spinner.onItemSelectedListener?.onItemSelected(spinner, null, at, at.toLong())
    shadowOf(Looper.getMainLooper()).idle()
}

/** Let workers work until [isDone]; fails after a minute. */
fun await(what: String, isDone: () -> Boolean) {
    val end = System.nanoTime() + 60_000_000_000
    do {
        shadowOf(Looper.getMainLooper()).idle()
        if (isDone()) return
        Thread.sleep(20)
    } while (System.nanoTime() < end)
    throw AssertionError("still waiting for $what")
}

/** The screen as a bitmap; kept as a picture to be looked at where the build says so. */
fun Activity.screenshot(name: String): Bitmap {
    val screen = window.decorView
    shadowOf(Looper.getMainLooper()).idle()
    val metrics = resources.displayMetrics
    screen.measure(
        View.MeasureSpec.makeMeasureSpec(metrics.widthPixels, View.MeasureSpec.EXACTLY),
        View.MeasureSpec.makeMeasureSpec(metrics.heightPixels, View.MeasureSpec.EXACTLY),
    )
    screen.jumpDrawablesToCurrentState() // a tick is drawn by an animation
    screen.layout(0, 0, screen.measuredWidth, screen.measuredHeight)
    val bitmap = Bitmap.createBitmap(screen.width, screen.height, Bitmap.Config.ARGB_8888)
    screen.draw(Canvas(bitmap))
    System.getProperty("screenshots")?.let { folder ->
        File(folder).mkdirs()
        File(folder, "$name.png").outputStream().use {
            bitmap.compress(Bitmap.CompressFormat.PNG, 100, it)
        }
    }
    return bitmap
}
