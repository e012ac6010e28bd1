package cpledge.app

import android.app.Activity
import android.os.Bundle
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.CheckBox
import android.widget.Spinner
import android.widget.ArrayAdapter
import android.widget.TableLayout
import android.widget.TableRow
import android.widget.TextView
import cpledge.core.BuildProfile
import cpledge.core.EntryPoint
import cpledge.core.Limits

/** Measure all builds in turn; a table, and the figures as JSON to share. */
class BenchmarkActivity : Activity() {
    private val app get() = application as DemoApplication
    private val benchmarking get() = app.benchmarking

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.benchmark)
        val cores = Runtime.getRuntime().availableProcessors()
        val threads = findViewById<Spinner>(R.id.threads)
        threads.adapter = ArrayAdapter(
            this, android.R.layout.simple_spinner_dropdown_item,
            (1..cores.coerceAtMost(MOST_THREADS)).map { "$it" },
        )
        findViewById<View>(R.id.start).setOnClickListener {
            if (benchmarking.isRunning) {
                benchmarking.cancel()
            } else {
                val isQuick = findViewById<CheckBox>(R.id.quick).isChecked
                val limits = if (isQuick) Limits.QUICK else Limits.FULL
                benchmarking.start(limits, threads.selectedItemPosition + 1)
            }
        }
        findViewById<View>(R.id.share_profile).setOnClickListener { shareProfile() }
    }

    override fun onStart() {
        super.onStart()
        benchmarking.listener = { draw() }
        draw()
    }

    override fun onStop() {
        benchmarking.listener = null
        super.onStop()
    }

    private fun shareProfile() {
        val file = ShareProvider.fresh(this, "cpl_edge_profile.json")
        file.writeText(benchmarking.json())
        shareFile(this, ShareProvider.uri(file), "application/json")
    }

    private fun draw() {
        val isRunning = benchmarking.isRunning
        val keepOn = WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
        if (isRunning) window.addFlags(keepOn) else window.clearFlags(keepOn)
        findViewById<Button>(R.id.start).setText(if (isRunning) R.string.cancel else R.string.start)
        for (id in intArrayOf(R.id.quick, R.id.threads)) {
            findViewById<View>(id).isEnabled = !isRunning
        }
        val now = benchmarking.now
        findViewById<TextView>(R.id.benchmark_message).text = when {
            isRunning && now != null ->
                getString(R.string.measuring, now.first, now.second, now.third)
            isRunning -> getString(R.string.working)
            benchmarking.profiles.isEmpty() -> getString(R.string.benchmark_hint)
            else -> getString(R.string.benchmark_done, conditions(benchmarking.profiles.last()))
        }
        findViewById<View>(R.id.share_profile).isEnabled =
            !isRunning && benchmarking.profiles.isNotEmpty()
        val table = findViewById<TableLayout>(R.id.table)
        table.removeAllViews()
        if (benchmarking.profiles.isEmpty()) return
        table.addView(
            row(
                listOf(
                    R.string.column_build, R.string.column_p50, R.string.column_p90,
                    R.string.column_p99, R.string.column_load,
                ).map { getString(it) },
                isHead = true,
            ),
        )
        for (profile in benchmarking.profiles) addRows(table, profile)
    }

    private fun addRows(table: TableLayout, profile: BuildProfile) {
        val measured = profile.measured.lastOrNull() // of the two of a photo, the one that counts
        if (measured == null) {
            table.addView(row(listOf(profile.file, "–", "–", "–", "–"), isHead = false))
            table.addView(note(profile.error ?: ""))
            return
        }
        val latency = measured.latency
        val figures = listOf(50.0, 90.0, 99.0).map { latency.percentile(it) } + profile.loadMs!!
        table.addView(
            row(
                listOf(profile.file) + figures.map { getString(R.string.milliseconds, it) },
                isHead = false,
            ),
        )
        val route = profile.measured.firstOrNull { it.entry == EntryPoint.ROUTE }
        val queries = resources.getQuantityString(
            R.plurals.queries, latency.count, latency.count, profile.runs,
        )
        table.addView(
            note(
                if (route == null) {
                    queries
                } else {
                    getString(R.string.and_route, queries, route.latency.percentile(50.0))
                },
            ),
        )
    }

    private fun row(texts: List<String>, isHead: Boolean): TableRow = TableRow(this).apply {
        for ((i, text) in texts.withIndex()) {
            val cell = layoutInflater.inflate(
                if (isHead) R.layout.cell_head else R.layout.cell, this, false,
            ) as TextView
            cell.text = text
            cell.textAlignment =
                if (i == 0) View.TEXT_ALIGNMENT_TEXT_START else View.TEXT_ALIGNMENT_TEXT_END
            addView(cell)
        }
    }

    private fun note(text: String): TextView =
        (layoutInflater.inflate(R.layout.cell_note, null) as TextView).also { it.text = text }

    private fun conditions(profile: BuildProfile): String {
        val state = profile.after
        return getString(
            R.string.conditions,
            state.thermal ?: getString(R.string.not_told),
            state.batteryPercent?.let { getString(R.string.percent, it) }
                ?: getString(R.string.not_told),
        )
    }

    private companion object {
        const val MOST_THREADS = 8
    }
}
