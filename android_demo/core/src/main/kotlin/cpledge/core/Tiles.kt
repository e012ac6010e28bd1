package cpledge.core

/**
 * One tile of a photo.
 *
 * @property top row of the photo at which its window starts; negative in the padding.
 * @property left column likewise.
 * @property row first row that it restores, at `halo` in the window.
 * @property column first column likewise.
 * @property rows how many rows it restores.
 * @property columns how many columns it restores.
 */
data class Tile(
    val top: Int,
    val left: Int,
    val row: Int,
    val column: Int,
    val rows: Int,
    val columns: Int,
)

/**
 * The tiles of a photo, row by row, so that the result equals restoring it whole: the same plan as
 * `cpl_edge/restore/tiles.py`. Every output pixel comes from a tile that holds at least the halo
 * around it, and tiles start at multiples of `multiple` of the padded photo.
 *
 * @param height of the photo in pixels.
 * @param width of the photo in pixels.
 * @param info gives the size of a tile, the halo and the multiple.
 * @throws ModelException the model's images are all halo.
 */
class Grid(val height: Int, val width: Int, info: ModelInfo) {
    private val halo = info.halo
    val stepRows = (info.height - 2 * halo) / info.multiple * info.multiple
    val stepColumns = (info.width - 2 * halo) / info.multiple * info.multiple

    init {
        require(height > 0 && width > 0) { "no photo has $width x $height pixels" }
        if (info.height <= 2 * halo || minOf(stepRows, stepColumns) <= 0) {
            throw ModelException(
                "tiles of ${info.height}x${info.width} pixels leave nothing beside a halo of " +
                    "$halo: export with a larger --size",
            )
        }
    }

    private val across = (width + stepColumns - 1) / stepColumns
    val size: Int = (height + stepRows - 1) / stepRows * across

    operator fun get(index: Int): Tile {
        if (index !in 0 until size) throw IndexOutOfBoundsException("tile $index of $size")
        val row = index / across * stepRows
        val column = index % across * stepColumns
        return Tile(
            top = row - halo,
            left = column - halo,
            row = row,
            column = column,
            rows = minOf(stepRows, height - row),
            columns = minOf(stepColumns, width - column),
        )
    }
}

/** Index of an axis of [size] pixels, reflected into it with the edge pixel repeated. */
fun reflected(index: Int, size: Int): Int {
    val folded = Math.floorMod(index, 2 * size)
    return minOf(folded, 2 * size - 1 - folded)
}
