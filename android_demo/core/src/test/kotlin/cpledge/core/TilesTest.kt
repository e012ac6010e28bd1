package cpledge.core

import org.json.JSONArray
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class TilesTest {
    @Test
    fun `plans are those of Python`() {
        for (plan in Golden.values.getJSONArray("tiles").objects()) {
            val grid = Grid(plan.getInt("height"), plan.getInt("width"), Golden.info)
            assertEquals(plan.getInt("count"), grid.size)
            val first = plan.getJSONArray("first")
            for (i in 0 until first.length()) assertEquals(tile(first.getJSONArray(i)), grid[i])
            assertEquals(tile(plan.getJSONArray("last")), grid[grid.size - 1])
        }
    }

    private fun tile(values: JSONArray): Tile {
        val (top, left, row, column, end) = values.ints()
        return Tile(top, left, row, column, end - row, values.getInt(5) - column)
    }

    @Test
    fun `every pixel is restored once`() {
        val grid = Grid(301, 203, Golden.info)
        val seen = IntArray(301 * 203)
        for (i in 0 until grid.size) {
            val t = grid[i]
            for (y in 0 until t.rows) for (x in 0 until t.columns) seen[(t.row + y) * 203 + t.column + x]++
        }
        assertTrue(seen.all { it == 1 })
        assertThrows(IndexOutOfBoundsException::class.java) { grid[grid.size] }
    }

    @Test
    fun `reflection repeats the edge, any number of times`() {
        val golden = Golden.values.getJSONArray("reflected")
        assertEquals(golden.getJSONArray(0).ints(), List(9) { reflected(it - 4, 3) })
        assertEquals(golden.getJSONArray(1).ints(), List(9) { reflected(it - 9, 1) })
    }

    @Test
    fun `a model that is all halo is refused`() {
        val error = assertThrows(ModelException::class.java) { Grid(9, 9, Golden.info.copy(halo = 48)) }
        assertTrue("--size" in error.message!!)
    }
}
