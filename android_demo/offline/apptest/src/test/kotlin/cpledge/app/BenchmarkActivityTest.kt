package cpledge.app

import android.widget.CheckBox
import android.widget.TableLayout
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import java.io.File

/** The benchmark screen, with the real engines for desktop machines. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], qualifiers = "w411dp-h891dp-420dpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class BenchmarkActivityTest {
    private val app get() = RuntimeEnvironment.getApplication() as DemoApplication

    @Test
    fun measuresAllBuildsAndGivesJson() {
        app.builds.list()
        File(app.filesDir, "builds/zz-broken.tflite").writeText("no model")
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java).setup().get()
        activity.findViewById<CheckBox>(R.id.quick).isChecked = true
        activity.click(R.id.start)
        await("the benchmark") { !app.benchmarking.isRunning }
        val files = app.builds.list().map { it.name }
        assertEquals(files, app.benchmarking.profiles.map { it.file })
        val table = activity.findViewById<TableLayout>(R.id.table)
        assertEquals(1 + 2 * files.size, table.childCount)
        activity.screenshot("benchmark")
        val root = JSONObject(app.benchmarking.json())
        assertEquals("quick", root.getString("mode"))
        assertEquals("0.1.0", root.getString("app"))
        val builds = root.getJSONArray("builds")
        for (i in 0 until builds.length() - 1) {
            val restore = builds.getJSONObject(i).getJSONObject("entries").getJSONObject("restore")
            assertTrue(restore.getInt("queries") in 1..64)
            assertTrue(restore.getDouble("p50_ms") > 0)
        }
        val broken = builds.getJSONObject(builds.length() - 1)
        assertTrue("no TFLite model" in broken.getString("error"))
        System.getProperty("screenshots")?.let {
            File(it, "profile.json").writeText(app.benchmarking.json())
        }
    }

    @Test
    @Config(qualifiers = "+night")
    fun canBeCancelled() {
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java).setup().get()
        activity.click(R.id.start)
        await("the first calls") { app.benchmarking.now != null }
        activity.screenshot("benchmark-dark")
        activity.click(R.id.start)
        await("the end") { !app.benchmarking.isRunning }
        assertFalse(app.benchmarking.profiles.any { it.measured.isNotEmpty() && it.error != null })
    }
}
