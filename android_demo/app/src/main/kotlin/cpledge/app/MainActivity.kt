package cpledge.app

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.ProgressBar
import android.widget.TextView

/** Pick a photo, restore it, compare, save or share. */
class MainActivity : Activity() {
    private val app get() = application as DemoApplication
    private val restoring get() = app.restoring
    private lateinit var compare: CompareView
    private lateinit var panel: BuildPanel

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.main)
        compare = findViewById(R.id.compare)
        panel = findViewById(R.id.build_panel)
        panel.start(app.builds)
        saved?.getBundle(PANEL)?.let { panel.restore(it) }
        saved?.let { compare.split = it.getFloat(SPLIT, compare.split) }
        onClick(R.id.pick) { pick("image/*", PICK_PHOTO) }
        onClick(R.id.sample) { openSample() }
        onClick(R.id.add_build) { pick("*/*", PICK_BUILD) }
        onClick(R.id.restore) { if (isRestoring()) restoring.cancel() else restore() }
        onClick(R.id.save) { save() }
        onClick(R.id.share) { restoring.share { send(it) } }
        onClick(R.id.benchmark) { startActivity(Intent(this, BenchmarkActivity::class.java)) }
        panel.listener = { draw() }
        openFirst(saved)
    }

    override fun onStart() {
        super.onStart()
        restoring.listener = { draw() }
        draw()
    }

    override fun onStop() {
        restoring.listener = null // the work goes on; onStart shows how far it came
        super.onStop()
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        sharedPhoto(intent)?.let { restoring.open(it) }
    }

    override fun onSaveInstanceState(out: Bundle) {
        super.onSaveInstanceState(out)
        out.putBundle(PANEL, panel.save())
        out.putFloat(SPLIT, compare.split)
        out.putString(PHOTO, restoring.photo?.uri?.toString())
    }

    override fun onActivityResult(request: Int, status: Int, data: Intent?) {
        super.onActivityResult(request, status, data)
        val uri = data?.data
        if (status != RESULT_OK || uri == null) return
        when (request) {
            PICK_PHOTO -> {
                try { // so that it can be shown again after the process has gone
                    val read = Intent.FLAG_GRANT_READ_URI_PERMISSION
                    contentResolver.takePersistableUriPermission(uri, read)
                } catch (_: SecurityException) {
                    // Not every provider offers that; then it is readable just now.
                }
                restoring.open(uri)
            }
            PICK_BUILD -> panel.add(uri)
            SAVE -> restoring.save(uri)
        }
    }

    /** The photo of another app, else the one that is there or was there, else a bundled one. */
    private fun openFirst(saved: Bundle?) {
        val shared = if (saved == null) sharedPhoto(intent) else null
        if (shared == null && (restoring.photo != null || restoring.busy != null)) return
        val before = saved?.getString(PHOTO)?.let { Uri.parse(it) }
        (shared ?: before ?: app.photos.bundled().firstOrNull())?.let { restoring.open(it) }
    }

    private fun openSample() {
        val samples = app.photos.bundled()
        val next = samples.indexOf(restoring.photo?.uri) + 1
        if (samples.isNotEmpty()) restoring.open(samples[next % samples.size])
    }

    private fun sharedPhoto(intent: Intent?): Uri? = when {
        intent?.action != Intent.ACTION_SEND -> null
        Build.VERSION.SDK_INT >= 33 ->
            intent.getParcelableExtra(Intent.EXTRA_STREAM, Uri::class.java)
        else -> @Suppress("DEPRECATION") intent.getParcelableExtra(Intent.EXTRA_STREAM)
    }

    private fun pick(type: String, request: Int) {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE).setType(type)
        ask(intent, request)
    }

    private fun save() {
        val photo = restoring.photo ?: return
        val intent = Intent(Intent.ACTION_CREATE_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE).setType(app.photos.mimeType(photo))
            .putExtra(Intent.EXTRA_TITLE, app.photos.resultName(photo))
        ask(intent, SAVE)
    }

    private fun ask(intent: Intent, request: Int) {
        try {
            @Suppress("DEPRECATION") // its successor is a library; this works on every version
            startActivityForResult(intent, request)
        } catch (_: ActivityNotFoundException) {
            findViewById<TextView>(R.id.message).setText(R.string.no_documents)
        }
    }

    private fun send(uri: Uri) {
        val photo = restoring.photo ?: return
        shareFile(this, uri, app.photos.mimeType(photo))
    }

    private fun restore() {
        val build = panel.build ?: return
        restoring.restore(build, panel.threads, panel.choice)
    }

    private fun isRestoring() = restoring.busy == Restoring.Busy.RESTORING

    private fun draw() {
        val photo = restoring.photo
        compare.show(photo?.bitmap, restoring.result)
        val bar = findViewById<ProgressBar>(R.id.progress)
        bar.visibility = if (restoring.busy == null) View.INVISIBLE else View.VISIBLE
        bar.isIndeterminate = !isRestoring() || restoring.tilesAll == 0
        bar.max = restoring.tilesAll
        bar.progress = restoring.tilesDone
        val text = findViewById<TextView>(R.id.message)
        text.text = when {
            isRestoring() && restoring.tilesAll > 0 ->
                getString(R.string.tiles, restoring.tilesDone, restoring.tilesAll)
            restoring.busy != null -> getString(R.string.working)
            else -> restoring.message ?: panel.message ?: ""
        }
        // Every tile would be too much to hear.
        text.accessibilityLiveRegion =
            if (isRestoring()) View.ACCESSIBILITY_LIVE_REGION_NONE
            else View.ACCESSIBILITY_LIVE_REGION_POLITE
        findViewById<TextView>(R.id.outcome).text =
            restoring.outcome?.let { outcomeText(this, it) } ?: ""
        val idle = restoring.busy == null
        findViewById<Button>(R.id.restore).apply {
            setText(if (isRestoring()) R.string.cancel else R.string.restore)
            isEnabled = isRestoring() || (idle && photo != null && panel.isReady)
        }
        for (id in intArrayOf(R.id.pick, R.id.sample)) findViewById<View>(id).isEnabled = idle
        for (id in intArrayOf(R.id.save, R.id.share)) {
            findViewById<View>(id).isEnabled = idle && restoring.result != null
        }
    }

    private fun onClick(id: Int, action: () -> Unit) =
        findViewById<View>(id).setOnClickListener { action() }

    private companion object {
        const val PICK_PHOTO = 1
        const val PICK_BUILD = 2
        const val SAVE = 3
        const val PANEL = "panel"
        const val SPLIT = "split"
        const val PHOTO = "photo"
    }
}

/** Offer a file of [ShareProvider] to other apps. */
fun shareFile(activity: Activity, uri: Uri, type: String) {
    val intent = Intent(Intent.ACTION_SEND).setType(type)
        .putExtra(Intent.EXTRA_STREAM, uri)
        .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
    intent.clipData = ClipData.newRawUri("", uri) // carries the permission along
    activity.startActivity(Intent.createChooser(intent, null))
}
