package cpledge.app

import android.content.Context
import android.os.Bundle
import android.util.AttributeSet
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.LinearLayout
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.TextView
import cpledge.core.Choice
import cpledge.core.EntryPoint
import cpledge.core.ModelInfo

/**
 * How the photo is routed: automatic, one degradation, or a mixture by hand with a slider for each.
 * What can be chosen follows from the build.
 */
class RoutingPanel @JvmOverloads constructor(context: Context, attributes: AttributeSet? = null) :
    LinearLayout(context, attributes) {
    private val spinner: Spinner
    private val sliders: LinearLayout
    private var info: ModelInfo? = null
    private var wanted: Bundle? = null

    init {
        orientation = VERTICAL
        inflate(context, R.layout.routing, this)
        spinner = findViewById(R.id.routing)
        sliders = findViewById(R.id.sliders)
        spinner.onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(list: AdapterView<*>?, row: View?, at: Int, id: Long) =
                showSliders()

            override fun onNothingSelected(list: AdapterView<*>?) = showSliders()
        }
        show(null)
    }

    /** Offer what a build can be told; null while it is not known. */
    fun show(info: ModelInfo?) {
        val isSame = info != null && this.info?.degradations == info.degradations &&
            this.info?.entryPoints == info.entryPoints
        this.info = info
        if (isSame) return
        val names = mutableListOf(first(info))
        if (info != null && EntryPoint.RESTORE in info) {
            names += info.degradations.map { label(it) }
            names += context.getString(R.string.routing_mixed)
        }
        spinner.adapter =
            ArrayAdapter(context, android.R.layout.simple_spinner_dropdown_item, names)
        spinner.isEnabled = names.size > 1
        sliders.removeAllViews()
        if (names.size > 1) info?.degradations?.forEach { addSlider(it) }
        wanted?.let { if (info != null) apply(it) }
        showSliders()
    }

    /** What is chosen. */
    val choice: Choice
        get() {
            val degradations = info?.degradations.orEmpty()
            val at = spinner.selectedItemPosition
            return when {
                at <= 0 -> Choice.Auto
                at <= degradations.size -> Choice.Pinned(degradations[at - 1])
                else -> Choice.Mixed(bars().map { it.progress / it.max.toFloat() })
            }
        }

    fun save(): Bundle = if (info == null && wanted != null) {
        Bundle(wanted)
    } else {
        Bundle().apply {
            putInt(SELECTED, spinner.selectedItemPosition)
            putIntArray(SHARES, bars().map { it.progress }.toIntArray())
        }
    }

    /** Choose again what [save] kept, as soon as there is a build. */
    fun restore(saved: Bundle) {
        wanted = saved
        if (info != null) apply(saved)
    }

    private fun apply(saved: Bundle) {
        wanted = null
        spinner.setSelection(saved.getInt(SELECTED).coerceIn(0, spinner.adapter.count - 1))
        val shares = saved.getIntArray(SHARES) ?: return
        bars().zip(shares.toList()).forEach { (bar, share) -> bar.progress = share }
    }

    private fun first(info: ModelInfo?): String {
        val pinned = info?.pinned ?: return context.getString(R.string.routing_auto)
        return context.getString(R.string.routing_pinned, label(pinned))
    }

    private fun showSliders() {
        val isMixed = spinner.selectedItemPosition > (info?.degradations?.size ?: 0)
        sliders.visibility = if (isMixed) View.VISIBLE else View.GONE
    }

    private fun bars(): List<SeekBar> = List(sliders.childCount) {
        sliders.getChildAt(it).findViewById(R.id.share)
    }

    private fun addSlider(degradation: String) {
        val row = inflate(context, R.layout.slider, null)
        val name = label(degradation)
        row.findViewById<TextView>(R.id.share_label).text = name
        row.findViewById<SeekBar>(R.id.share).apply {
            contentDescription = context.getString(R.string.share_of, name)
            progress = max / 2
        }
        sliders.addView(row)
    }

    private fun label(degradation: String): String = degradationLabel(context, degradation)

    private companion object {
        const val SELECTED = "selected"
        const val SHARES = "shares"
    }
}

/** A degradation's name in the user's language; its own name where we have none. */
fun degradationLabel(context: Context, name: String): String = when (name) {
    "noise" -> context.getString(R.string.noise)
    "blur" -> context.getString(R.string.blur)
    "rain" -> context.getString(R.string.rain)
    "haze" -> context.getString(R.string.haze)
    "lowlight" -> context.getString(R.string.lowlight)
    else -> name
}
