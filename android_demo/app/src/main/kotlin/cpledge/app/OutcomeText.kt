package cpledge.app

import android.content.Context

/** What happened to a photo, in words: the prompts, the time and its parts, memory, who ran it. */
fun outcomeText(context: Context, outcome: Outcome): String {
    val lines = mutableListOf<String>()
    val restored = outcome.restored
    val name = restored.degradation?.let { degradationLabel(context, it) }
    val certainty = restored.probabilities[restored.degradation]
    lines += when {
        name == null -> context.getString(R.string.selected_inside)
        certainty == null -> context.getString(R.string.selected, name)
        else -> context.getString(R.string.selected_sure, name, certainty * 100)
    }
    restored.weights?.let { weights ->
        val levels = outcome.info.levels
        val parts = weights.indices.filter { weights[it] > 0.0005f }.map {
            val prompt = it % outcome.info.prompts
            val degradation = degradationLabel(context, outcome.info.degradations[prompt / levels])
            context.getString(R.string.weight, degradation, prompt % levels + 1, weights[it])
        }
        lines += context.getString(R.string.weights, parts.joinToString())
    }
    val times = restored.times
    lines += context.getString(R.string.time_total, times.total, restored.tiles)
    lines += context.getString(
        R.string.time_parts, times.load, times.route, times.network, times.packing,
    )
    outcome.memoryPeakMb?.let { lines += context.getString(R.string.memory, it) }
    lines += context.resources.getQuantityString(
        R.plurals.runs, outcome.threads, outcome.runs, outcome.threads,
    )
    return lines.joinToString("\n")
}
