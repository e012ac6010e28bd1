package cpledge.core

import org.json.JSONArray
import org.json.JSONObject

/** State of the phone around a measurement; null where the phone does not tell. */
data class Conditions(
    val thermal: String? = null,
    val batteryPercent: Int? = null,
    val charging: Boolean? = null,
    val batteryCelsius: Double? = null,
)

/**
 * One build of a profile.
 *
 * @property file name of the model file.
 * @property sha256 of the model file, in hex.
 * @property info null if the file could not be opened.
 * @property runs what really ran it; null if nothing did.
 * @property memoryPeakMb highest resident memory of the process so far, in 10^6 bytes.
 * @property error why there are no figures; null if there are.
 */
data class BuildProfile(
    val file: String,
    val bytes: Long,
    val sha256: String,
    val info: ModelInfo?,
    val runs: String?,
    val threads: Int,
    val loadMs: Double?,
    val measured: List<Measured>,
    val memoryPeakMb: Double?,
    val before: Conditions,
    val after: Conditions,
    val error: String?,
)

/**
 * The benchmark's result as the JSON text that `python -m cpl_edge.profile` imports.
 *
 * @param device free text by name: manufacturer, model, SoC, Android version, ABIs, cores.
 * @param started time of the start, ISO 8601 in UTC.
 */
fun profileJson(
    app: String,
    limits: Limits,
    started: String,
    device: Map<String, String>,
    builds: List<BuildProfile>,
): String {
    val root = JSONObject()
    root.put("format", 1)
    root.put("kind", "cpl_edge.android")
    root.put("app", app)
    root.put("mode", limits.key)
    root.put("started", started)
    root.put("device", JSONObject(device))
    root.put("builds", JSONArray(builds.map { build(it) }))
    return root.toString(2)
}

private fun build(build: BuildProfile): JSONObject {
    val json = JSONObject()
    json.put("file", build.file)
    json.put("bytes", build.bytes)
    json.put("sha256", build.sha256)
    json.put("info", build.info?.let { info(it) } ?: JSONObject.NULL)
    json.put("runs", build.runs ?: JSONObject.NULL)
    json.put("threads", build.threads)
    json.put("load_ms", number(build.loadMs))
    val entries = JSONObject()
    for (measured in build.measured) entries.put(measured.entry.key, entry(measured))
    json.put("entries", entries)
    json.put("memory_peak_mb", number(build.memoryPeakMb))
    json.put("before", conditions(build.before))
    json.put("after", conditions(build.after))
    json.put("error", build.error ?: JSONObject.NULL)
    return json
}

private fun info(info: ModelInfo): JSONObject {
    val json = JSONObject()
    json.put("student", info.student)
    json.put("target", info.target)
    json.put("precision", info.precision)
    json.put("routing", info.routing.name.lowercase())
    json.put("pinned", info.pinned ?: JSONObject.NULL)
    json.put("height", info.height)
    json.put("width", info.width)
    json.put("halo", info.halo)
    json.put("digest", info.digest)
    json.put("versions", JSONObject(info.versions))
    return json
}

private fun entry(measured: Measured): JSONObject {
    val latency = measured.latency
    val json = JSONObject()
    json.put("first_ms", number(measured.firstMs))
    json.put("warmup", measured.warmup)
    json.put("queries", latency.count)
    json.put("seconds", number(measured.seconds))
    json.put("p50_ms", number(latency.percentile(50.0)))
    json.put("p90_ms", number(latency.percentile(90.0)))
    json.put("p99_ms", number(latency.percentile(99.0)))
    json.put("mean_ms", number(latency.mean))
    json.put("min_ms", number(latency.min))
    json.put("max_ms", number(latency.max))
    return json
}

private fun conditions(state: Conditions): JSONObject {
    val json = JSONObject()
    json.put("thermal", state.thermal ?: JSONObject.NULL)
    json.put("battery_percent", state.batteryPercent ?: JSONObject.NULL)
    json.put("charging", state.charging ?: JSONObject.NULL)
    json.put("battery_celsius", number(state.batteryCelsius))
    return json
}

/** Microseconds are precise enough; null where nothing was measured. */
private fun number(value: Double?): Any =
    if (value == null || !value.isFinite()) JSONObject.NULL else Math.round(value * 1000) / 1000.0
