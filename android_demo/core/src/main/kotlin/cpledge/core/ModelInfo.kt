package cpledge.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject
import org.json.JSONTokener

/** A model file that cannot be used; the message is one line for the user. */
class ModelException(message: String, cause: Throwable? = null) : Exception(message, cause)

enum class Layout { NCHW, NHWC }

enum class Routing { AUTO, SPLIT, TOLD, PINNED }

/**
 * What a model file can do: each is one function of the file, or several (see [ModelInfo.own]).
 *
 * `forward(x) -> y` routes by itself, `route(x) -> logits`, `restore(x, w) -> y`. Images are
 * float32 RGB in [0, 1], one at a time, in the [Layout] of the file.
 */
enum class EntryPoint(val key: String) { FORWARD("forward"), ROUTE("route"), RESTORE("restore") }

/**
 * What a model file says about itself: the JSON string that the exporter stores in it under
 * [KEY]. Reads what `cpl_edge/runtimes/info.py` writes and refuses what it refuses.
 *
 * @property degradations names of the D degradations, in the order of the router's outputs.
 * @property levels prompts M of each degradation; N = D * M weights select a prompt.
 * @property halo pixels around a tile's core that the file is given and whose output is dropped.
 * @property multiple height, width and the origin of a tile are multiples of this.
 * @property digest sha256 of the student's weights.
 * @property own whether each degradation has convolutions of its own: [EntryPoint.RESTORE] is then
 *   D functions, `restore_noise` and so on, of which the prompt weights choose one.
 */
data class ModelInfo(
    val student: String,
    val target: String,
    val precision: String,
    val routing: Routing,
    val pinned: String?,
    val height: Int,
    val width: Int,
    val layout: Layout,
    val halo: Int,
    val multiple: Int,
    val degradations: List<String>,
    val levels: Int,
    val sites: Int,
    val entryPoints: Set<EntryPoint>,
    val digest: String,
    val versions: Map<String, String>,
    val own: Boolean,
) {
    /** Number N of prompt weights of a site. */
    val prompts: Int get() = degradations.size * levels

    /** Number L of router outputs of a site: D degradations, then M levels of each. */
    val logits: Int get() = degradations.size + prompts

    /** Values of one image. */
    val imageSize: Int get() = 3 * height * width

    /** Shape of an image as the file takes it. */
    val imageShape: LongArray
        get() = if (layout == Layout.NHWC) {
            longArrayOf(1, height.toLong(), width.toLong(), 3)
        } else {
            longArrayOf(1, 3, height.toLong(), width.toLong())
        }

    /** Shape of the prompt weights: one image, S sites, N prompts. */
    val weightsShape: LongArray get() = longArrayOf(1, sites.toLong(), prompts.toLong())

    /** Functions of the file and the entry point that each of them serves. */
    val functions: Map<String, EntryPoint>
        get() = entryPoints.flatMap { entry ->
            if (own && entry == EntryPoint.RESTORE) {
                degradations.map { restorer(it) to entry }
            } else {
                listOf(entry.key to entry)
            }
        }.toMap()

    operator fun contains(entry: EntryPoint): Boolean = entry in entryPoints

    companion object {
        const val KEY = "cpl_edge"
        private const val FORMAT = 1
        private val NEEDED = mapOf(
            Routing.AUTO to setOf(EntryPoint.FORWARD),
            Routing.SPLIT to setOf(EntryPoint.ROUTE, EntryPoint.RESTORE),
            Routing.TOLD to setOf(EntryPoint.FORWARD),
            Routing.PINNED to setOf(EntryPoint.FORWARD),
        )

        /** Name of the function that restores one degradation, where each has its own. */
        fun restorer(degradation: String): String = "restore_$degradation"

        /**
         * Read a description.
         *
         * @param text the stored string, or null if the file has none.
         * @param where name of the file, for the message.
         * @throws ModelException no description, another version, or a damaged one.
         */
        fun fromJson(text: String?, where: String): ModelInfo {
            if (text == null) {
                throw ModelException("$where does not describe itself: export it with cpl_edge")
            }
            val parsed = try {
                JSONTokener(text).nextValue()
            } catch (error: JSONException) {
                throw ModelException("$where: its description is no JSON: export it again", error)
            }
            val values = parsed as? JSONObject
            if (values?.opt("format") != FORMAT) {
                throw ModelException(
                    "$where has a description of version ${values?.opt("format")} and this app " +
                        "reads version $FORMAT: export it again, or update the app",
                )
            }
            return try {
                Fields(values).info()
            } catch (error: IllegalArgumentException) {
                throw ModelException("$where: its description ${error.message}: export it again")
            }
        }
    }

    /** The fields of a description, each refused unless it is of its own type. */
    private class Fields(private val values: JSONObject) {
        fun info(): ModelInfo {
            val info = ModelInfo(
                student = text("student"),
                target = text("target"),
                precision = text("precision"),
                routing = choice("routing", Routing.entries) { it.name.lowercase() },
                pinned = if (value("pinned") == JSONObject.NULL) null else text("pinned"),
                height = number("height", 1),
                width = number("width", 1),
                layout = choice("layout", Layout.entries) { it.name },
                halo = number("halo", 0),
                multiple = number("multiple", 1),
                degradations = names("degradations"),
                levels = number("levels", 1),
                sites = number("sites", 1),
                entryPoints = names("entry_points").map { name ->
                    EntryPoint.entries.firstOrNull { it.key == name }
                        ?: throw IllegalArgumentException("has an unknown entry point $name")
                }.toSet(),
                digest = text("digest"),
                versions = versions(),
                own = values.has("own") && flag("own"), // older files lack it
            )
            require(text("channels") == "RGB" && range() == listOf(0.0, 1.0)) {
                "asks for images that are not RGB in [0, 1]"
            }
            require(info.degradations.size >= 2) { "says fewer than two degradations" }
            require(info.pinned == null || info.pinned in info.degradations) {
                "says pinned ${info.pinned}, which is none of its degradations"
            }
            require(info.entryPoints.containsAll(NEEDED.getValue(info.routing))) {
                "lacks an entry point that its routing needs"
            }
            require(info.height % info.multiple == 0 && info.width % info.multiple == 0) {
                "says a size that is no multiple of its own multiple"
            }
            return info
        }

        private fun value(name: String): Any =
            requireNotNull(values.opt(name)) { "lacks $name" }

        private fun text(name: String): String =
            requireNotNull(value(name) as? String) { "has no text for $name" }

        private fun number(name: String, least: Int): Int {
            val number = value(name) as? Int
            require(number != null && number >= least) { "says $name ${value(name)}, no size" }
            return number
        }

        private fun flag(name: String): Boolean =
            requireNotNull(value(name) as? Boolean) {
                "says $name ${value(name)} instead of true or false"
            }

        private fun <T> choice(name: String, all: List<T>, key: (T) -> String): T =
            requireNotNull(all.firstOrNull { key(it) == value(name) }) {
                "says $name ${value(name)} instead of ${all.joinToString(" or ", transform = key)}"
            }

        private fun names(name: String): List<String> {
            val array = value(name) as? JSONArray
            require(array != null && array.length() > 0) { "has no names for $name" }
            return List(array.length()) {
                requireNotNull(array.opt(it) as? String) { "has no names for $name" }
            }
        }

        private fun range(): List<Double> {
            val array = value("range") as? JSONArray ?: return emptyList()
            return List(array.length()) { (array.opt(it) as? Number)?.toDouble() ?: Double.NaN }
        }

        private fun versions(): Map<String, String> {
            val table = value("versions") as? JSONObject
            require(table != null) { "has no table of versions" }
            val names = table.names() ?: return emptyMap()
            return List(names.length()) { names.getString(it) }
                .associateWith { table.opt(it).toString() }
        }
    }
}
