package cpledge.app

import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Color
import android.net.Uri
import android.view.View
import android.widget.LinearLayout
import android.widget.SeekBar
import cpledge.core.Exif
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import java.io.ByteArrayOutputStream
import java.io.File
import java.nio.ByteBuffer

private const val PHONE = "w411dp-h891dp-420dpi"

/** The main screen, with the real engines for desktop machines. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], qualifiers = PHONE)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class MainActivityTest {
    private val app get() = RuntimeEnvironment.getApplication() as DemoApplication

    private fun start(): ActivityController<MainActivity> {
        val controller = Robolectric.buildActivity(MainActivity::class.java).setup()
        ready(controller.get())
        return controller
    }

    private fun ready(activity: MainActivity) = await("photo and build") {
        app.restoring.photo != null && activity.findViewById<View>(R.id.restore).isEnabled
    }

    private fun MainActivity.restored(): Outcome {
        click(R.id.restore)
        await("the result") { app.restoring.busy == null }
        assertNotNull(text(R.id.message), app.restoring.outcome)
        return app.restoring.outcome!!
    }

    @Test
    fun restoresTheSampleAndTellsWhatHappened() {
        val activity = start().get()
        assertFalse(activity.findViewById<View>(R.id.save).isEnabled)
        activity.choose(R.id.threads, "1")
        val outcome = activity.restored()
        assertTrue(outcome.runs, outcome.runs.startsWith("LiteRT"))
        assertEquals(1, outcome.threads)
        assertEquals(1f, outcome.restored.weights!!.sum(), 1e-5f)
        val before = app.restoring.photo!!.bitmap
        val after = app.restoring.result!!
        assertEquals(before.width to before.height, after.width to after.height)
        assertNotEquals(before.getPixel(200, 200), after.getPixel(200, 200))
        val text = activity.text(R.id.outcome)
        for (word in listOf("Selected:", "Prompts:", "network", "packing", "MB", "1 thread")) {
            assertTrue(text, word in text)
        }
        assertTrue(activity.findViewById<View>(R.id.save).isEnabled)
        activity.screenshot("main")
    }

    @Test
    @Config(qualifiers = "+night")
    fun isDarkAtNight() {
        val activity = start().get()
        activity.restored()
        val screen = activity.screenshot("main-dark")
        val corner = screen.getPixel(8, screen.height - 8)
        assertTrue(Integer.toHexString(corner), (corner and 255) < 80)
    }

    @Test
    fun aTurnedPhoneKeepsPhotoResultAndChoices() {
        val controller = start()
        val activity = controller.get()
        activity.choose(R.id.routing, "rain")
        activity.findViewById<CompareView>(R.id.compare).split = 0.25f
        val outcome = activity.restored()
        assertEquals("rain", outcome.restored.degradation)
        RuntimeEnvironment.setQualifiers("+land")
        controller.configurationChange()
        val turned = controller.get()
        ready(turned)
        assertSame(outcome, app.restoring.outcome)
        assertTrue(turned.text(R.id.outcome).startsWith("Selected: rain"))
        assertEquals(0.25f, turned.findViewById<CompareView>(R.id.compare).split, 0f)
        assertEquals("rain", turned.restored().restored.degradation)
        turned.screenshot("main-landscape")
    }

    @Test
    fun mixesByHand() {
        val activity = start().get()
        activity.choose(R.id.routing, "Mixed")
        val sliders = activity.findViewById<LinearLayout>(R.id.sliders)
        assertEquals(View.VISIBLE, sliders.visibility)
        val bars = List(sliders.childCount) { sliders.getChildAt(it).findViewById<SeekBar>(R.id.share) }
        assertEquals("Share of low light", bars[4].contentDescription)
        bars.forEach { it.progress = 0 }
        bars[1].progress = 30
        bars[4].progress = 90
        val outcome = activity.restored()
        assertEquals("lowlight", outcome.restored.degradation)
        val weights = outcome.restored.weights!!
        assertEquals(0.25f, weights.slice(3..5).sum(), 1e-5f)
        assertEquals(0.75f, weights.slice(12..14).sum(), 1e-5f)
        activity.screenshot("main-mixed")
        bars.forEach { it.progress = 0 }
        activity.click(R.id.restore)
        await("the refusal") { app.restoring.busy == null }
        assertTrue("above 0" in activity.text(R.id.message))
    }

    @Test
    fun restoresWithEveryBuild() {
        val activity = start().get()
        for (file in app.builds.list()) {
            activity.choose(R.id.engine, app.builds.kind(file).label)
            activity.choose(R.id.build, file.name)
            ready(activity)
            val outcome = activity.restored()
            assertTrue(outcome.restored.degradation in outcome.info.degradations)
            activity.screenshot("build-${file.nameWithoutExtension}")
        }
    }

    @Test
    fun otherEnginesRunOrSayThatTheyAreMissing() {
        val activity = start().get()
        activity.choose(R.id.engine, "ONNX")
        ready(activity)
        assertTrue(activity.restored().runs.startsWith("ONNX Runtime"))
        activity.choose(R.id.engine, "ExecuTorch (not in this app)")
        assertFalse(activity.findViewById<View>(R.id.restore).isEnabled)
        assertTrue("ExecuTorch is not in this app" in activity.text(R.id.message))
    }

    @Test
    fun aDamagedBuildIsAMessage() {
        val activity = start().get()
        val broken = File(app.filesDir, "builds/zz-broken.tflite")
        broken.writeBytes(ByteArray(1000) { it.toByte() })
        val again = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        ready(again)
        again.choose(R.id.build, "zz-broken")
        await("the message") { "no TFLite model" in again.text(R.id.message) }
        assertFalse(again.findViewById<View>(R.id.restore).isEnabled)
        again.screenshot("main-broken")
        assertNotNull(activity)
    }

    @Test
    fun whatIsNoPhotoIsAMessageAndThePhotoStays() {
        val activity = start().get()
        val photo = app.restoring.photo
        val uri = Uri.parse("content://somewhere/1")
        shadowOf(app.contentResolver).registerInputStreamSupplier(uri) { "no photo".byteInputStream() }
        val share = Intent(Intent.ACTION_SEND).putExtra(Intent.EXTRA_STREAM, uri).setType("image/png")
        activity.onNewIntentForTest(share)
        await("the message") { app.restoring.busy == null }
        assertTrue(activity.text(R.id.message).startsWith("This is no photo"))
        assertSame(photo, app.restoring.photo)
    }

    private fun MainActivity.onNewIntentForTest(intent: Intent) {
        val method = MainActivity::class.java.getDeclaredMethod("onNewIntent", Intent::class.java)
        method.isAccessible = true
        method.invoke(this, intent)
    }

    @Test
    fun aSharedPhotoIsTurnedUprightAndKeepsItsExif() {
        start().get().click(R.id.restore) // busy when it comes
        val uri = Uri.parse("content://somewhere/photo")
        val jpeg = ByteArrayOutputStream()
        val lying = Bitmap.createBitmap(120, 80, Bitmap.Config.ARGB_8888)
        lying.eraseColor(Color.BLUE)
        for (x in 0 until 60) for (y in 0 until 80) lying.setPixel(x, y, Color.RED)
        lying.compress(Bitmap.CompressFormat.JPEG, 95, exif(orientation = 6).intoJpeg(jpeg))
        shadowOf(app.contentResolver).registerInputStreamSupplier(uri) { jpeg.toByteArray().inputStream() }
        val share = Intent(Intent.ACTION_SEND).putExtra(Intent.EXTRA_STREAM, uri).setType("image/jpeg")
        val activity = Robolectric.buildActivity(MainActivity::class.java, share).setup().get()
        await("the shared photo") { app.restoring.photo?.uri == uri && app.restoring.busy == null }
        ready(activity)
        val upright = app.restoring.photo!!.bitmap
        assertEquals(80 to 120, upright.width to upright.height)
        assertTrue(Color.red(upright.getPixel(40, 20)) > 200) // what was left is on top
        assertTrue(Color.blue(upright.getPixel(40, 100)) > 200)
        activity.restored()
        val written = ByteArrayOutputStream()
        app.photos.write(app.restoring.photo!!, app.restoring.result!!, written)
        val kept = Exif.read(written.toByteArray().inputStream())!!
        assertEquals(1, kept.orientation)
        assertTrue("Box" in String(written.toByteArray(), Charsets.ISO_8859_1))
    }

    private fun exif(orientation: Short): Exif {
        val block = ByteBuffer.allocate(64).put("MM\u0000*".toByteArray()).putInt(8).putShort(2)
        block.putShort(0x010F).putShort(2).putInt(4).put("Box\u0000".toByteArray())
        block.putShort(0x0112).putShort(3).putInt(1).putShort(orientation).putShort(0)
        return Exif.of(block.array())!!
    }

    @Test
    fun canBeCancelled() {
        val activity = start().get()
        activity.click(R.id.restore)
        activity.click(R.id.restore) // it says Cancel now
        await("the end") { app.restoring.busy == null }
        assertEquals("Cancelled.", activity.text(R.id.message))
        assertNull(app.restoring.result)
        activity.restored()
    }

    @Test
    fun savesAndSharesWhatItShows() {
        val activity = start().get()
        activity.restored()
        val written = ByteArrayOutputStream()
        val target = Uri.parse("content://somewhere/2")
        shadowOf(app.contentResolver).registerOutputStream(target, written)
        app.restoring.save(target)
        await("the file") { app.restoring.busy == null }
        assertEquals("Saved.", activity.text(R.id.message))
        assertEquals(0xD8.toByte(), written.toByteArray()[1])
        activity.click(R.id.share)
        await("the intent") { app.restoring.busy == null }
        val chooser = shadowOf(activity).nextStartedActivity
        val sent = chooser.getParcelableExtra(Intent.EXTRA_INTENT, Intent::class.java)!!
        val uri = sent.getParcelableExtra(Intent.EXTRA_STREAM, Uri::class.java)!!
        assertEquals("image/jpeg", sent.type)
        assertTrue(sent.flags and Intent.FLAG_GRANT_READ_URI_PERMISSION != 0)
        val shared = app.contentResolver.openInputStream(uri)!!.use { it.readBytes() }
        assertEquals(written.size(), shared.size)
    }

    @Test
    fun memoryPressureInTheBackgroundGivesUpTheResult() {
        val controller = start()
        controller.get().restored()
        controller.stop()
        app.onTrimMemory(android.content.ComponentCallbacks2.TRIM_MEMORY_COMPLETE)
        controller.start()
        assertNull(app.restoring.result)
        assertTrue("again" in controller.get().text(R.id.message))
    }

    @Test
    fun aScreenReaderFindsASeekBar() {
        val activity = start().get()
        activity.restored()
        val view = activity.findViewById<CompareView>(R.id.compare)
        val info = view.createAccessibilityNodeInfo()
        assertEquals("android.widget.SeekBar", info.className)
        assertEquals(50f, info.rangeInfo.current, 0.01f)
        view.performAccessibilityAction(0x1000, null) // scroll forward
        assertEquals(0.6f, view.split, 1e-6f)
        assertTrue("40 percent" in view.contentDescription)
    }
}
