package cpledge.app

import android.content.Context
import android.net.Uri
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.util.AttributeSet
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.LinearLayout
import android.widget.Spinner
import android.widget.TextView
import cpledge.core.Choice
import cpledge.core.ModelException
import cpledge.core.ModelInfo
import java.io.File
import java.io.IOException
import java.util.concurrent.Executors

/** Engine, build, threads and routing. Files are listed and opened by a worker thread. */
class BuildPanel @JvmOverloads constructor(context: Context, attributes: AttributeSet? = null) :
    LinearLayout(context, attributes) {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())
    private val engines: Spinner
    private val buildList: Spinner
    private val threadList: Spinner
    private val routing: RoutingPanel
    private val about: TextView
    private lateinit var builds: Builds
    private var files: List<File> = emptyList()
    private var shownFiles: List<File> = emptyList()
    private var wantedBuild: String? = null
    private var described: Pair<File, ModelInfo>? = null

    /** Told when [message] or [isReady] changed. */
    var listener: (() -> Unit)? = null

    /** What is wrong with what was chosen, or null. */
    var message: String? = null
        private set

    init {
        orientation = VERTICAL
        inflate(context, R.layout.builds, this)
        engines = findViewById(R.id.engine)
        buildList = findViewById(R.id.build)
        threadList = findViewById(R.id.threads)
        routing = findViewById(R.id.routing_panel)
        about = findViewById(R.id.about_build)
        fill(engines, EngineKind.entries.map { name(it) })
        val cores = Runtime.getRuntime().availableProcessors()
        fill(threadList, (1..cores.coerceAtMost(MOST_THREADS)).map { "$it" })
        threadList.setSelection(minOf(cores, 2) - 1)
        onSelect(engines) { showBuilds() }
        onSelect(buildList) { describe() }
    }

    /** Look for builds. */
    fun start(builds: Builds) {
        this.builds = builds
        work { list() }
    }

    /** Take a file that the user picked. */
    fun add(uri: Uri) = work {
        val name = builds.add(uri)
        wantedBuild = name
        list()
    }

    val build: File? get() = shownFiles.getOrNull(buildList.selectedItemPosition)
    val threads: Int get() = threadList.selectedItemPosition + 1
    val choice: Choice get() = routing.choice
    val isReady: Boolean get() = build != null && described?.first == build

    fun save(): Bundle = Bundle().apply {
        putString(BUILD, build?.name ?: wantedBuild)
        putInt(THREADS, threadList.selectedItemPosition)
        putBundle(ROUTING, routing.save())
    }

    fun restore(saved: Bundle) {
        wantedBuild = saved.getString(BUILD)
        threadList.setSelection(saved.getInt(THREADS).coerceIn(0, threadList.adapter.count - 1))
        saved.getBundle(ROUTING)?.let { routing.restore(it) }
    }

    override fun onDetachedFromWindow() {
        super.onDetachedFromWindow()
        worker.shutdown()
    }

    private fun list(): () -> Unit {
        val found = builds.list()
        return then {
            files = found
            val name = wantedBuild ?: found
                .filter { EngineKind.of(it.name)?.isIncluded == true }
                .minByOrNull { EngineKind.of(it.name)!!.ordinal }?.name
            val kind = name?.let { EngineKind.of(it) } ?: EngineKind.LITERT
            if (engines.selectedItemPosition == kind.ordinal) showBuilds()
            engines.setSelection(kind.ordinal)
        }
    }

    private fun showBuilds() {
        val kind = EngineKind.entries[engines.selectedItemPosition]
        shownFiles = files.filter { EngineKind.of(it.name) == kind }
        fill(buildList, shownFiles.map { it.name })
        buildList.isEnabled = shownFiles.isNotEmpty()
        val wanted = shownFiles.indexOfFirst { it.name == wantedBuild }
        if (wanted >= 0) buildList.setSelection(wanted)
        if (shownFiles.isEmpty()) {
            val text = if (kind.isIncluded) R.string.no_builds else R.string.engine_missing
            say(context.getString(text, kind.label, kind.suffix))
        }
        describe()
    }

    private fun describe() {
        val file = build
        if (file == null) {
            described = null
            about.text = ""
            routing.show(null)
            listener?.invoke()
            return
        }
        if (described?.first == file) return
        described = null
        work {
            val info = builds.describe(file)
            then {
                if (build == file) {
                    described = file to info
                    routing.show(info)
                    about.text = context.getString(
                        R.string.about_build, info.student, info.precision, info.width, info.height,
                    )
                    say(null)
                }
            }
        }
    }

    private fun say(text: String?) {
        message = text
        listener?.invoke()
    }

    /** What is left to do on the main thread. */
    private fun then(step: () -> Unit): () -> Unit = step

    /** Do [job] on the worker, then what it returns here. */
    private fun work(job: () -> () -> Unit) {
        worker.execute {
            val finish = try {
                job()
            } catch (error: ModelException) {
                failed(error.message)
            } catch (_: IOException) {
                failed(context.getString(R.string.no_file))
            } catch (_: SecurityException) {
                failed(context.getString(R.string.no_file))
            }
            main.post { finish() }
        }
    }

    private fun failed(text: String?): () -> Unit = then {
        about.text = ""
        say(text)
    }

    private fun name(kind: EngineKind): String =
        if (kind.isIncluded) kind.label else context.getString(R.string.not_included, kind.label)

    private fun fill(spinner: Spinner, names: List<String>) {
        spinner.adapter =
            ArrayAdapter(context, android.R.layout.simple_spinner_dropdown_item, names)
    }

    private fun onSelect(spinner: Spinner, action: () -> Unit) {
        spinner.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(list: AdapterView<*>?, row: View?, at: Int, id: Long) =
                action()

            override fun onNothingSelected(list: AdapterView<*>?) = Unit
        }
    }

    private companion object {
        const val MOST_THREADS = 8
        const val BUILD = "build"
        const val THREADS = "threads"
        const val ROUTING = "routing"
    }
}
