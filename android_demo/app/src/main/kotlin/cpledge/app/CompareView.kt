package cpledge.app

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.RectF
import android.os.Bundle
import android.util.AttributeSet
import android.view.GestureDetector
import android.view.KeyEvent
import android.view.MotionEvent
import android.view.ScaleGestureDetector
import android.view.View
import android.view.accessibility.AccessibilityNodeInfo
import android.widget.SeekBar
import kotlin.math.abs
import kotlin.math.roundToInt

/**
 * Before on the left of a line, after on the right. Dragging moves the line; two fingers zoom and
 * move the photo; a double tap shows all of it again. Screen readers and keyboards see a seek bar.
 */
class CompareView @JvmOverloads constructor(context: Context, attributes: AttributeSet? = null) :
    View(context, attributes) {
    private var before: Bitmap? = null
    private var after: Bitmap? = null

    /** Where the line is: 0 at the left edge, 1 at the right. */
    var split = 0.5f
        set(value) {
            field = value.coerceIn(0f, 1f)
            invalidate()
            contentDescription = describe()
        }

    private var zoom = 1f
    private var centreX = 0.5f // of what is shown, in parts of the photo
    private var centreY = 0.5f
    private val density = resources.displayMetrics.density
    private val matrix = Matrix()
    private val shown = RectF()
    private val bitmapPaint = Paint(Paint.FILTER_BITMAP_FLAG)
    private val linePaint = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = Color.WHITE
        strokeWidth = 2 * density
        setShadowLayer(2 * density, 0f, 0f, Color.BLACK)
    }

    init {
        isFocusable = true
        contentDescription = describe()
    }

    fun show(before: Bitmap?, after: Bitmap?) {
        if (this.before !== before) resetZoom()
        this.before = before
        this.after = after
        contentDescription = describe()
        invalidate()
    }

    private fun resetZoom() {
        zoom = 1f
        centreX = 0.5f
        centreY = 0.5f
        invalidate()
    }

    private fun describe(): String = when {
        before == null -> context.getString(R.string.compare_empty)
        after == null -> context.getString(R.string.compare_before)
        else -> context.getString(R.string.compare_both, ((1 - split) * 100).roundToInt())
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val photo = before ?: return
        if (canvas.isHardwareAccelerated && maxOf(photo.width, photo.height) > minOf(
                canvas.maximumBitmapWidth, canvas.maximumBitmapHeight,
            )
        ) {
            setLayerType(LAYER_TYPE_SOFTWARE, null) // too large for a texture
        }
        place(photo)
        canvas.drawBitmap(photo, matrix, bitmapPaint)
        val restored = after ?: return
        val x = shown.left.coerceAtLeast(0f) +
            (shown.right.coerceAtMost(width.toFloat()) - shown.left.coerceAtLeast(0f)) * split
        canvas.save()
        canvas.clipRect(x, 0f, width.toFloat(), height.toFloat())
        canvas.drawBitmap(restored, matrix, bitmapPaint)
        canvas.restore()
        val top = shown.top.coerceAtLeast(0f)
        val bottom = shown.bottom.coerceAtMost(height.toFloat())
        canvas.drawLine(x, top, x, bottom, linePaint)
        canvas.drawCircle(x, (top + bottom) / 2, 8 * density, linePaint)
    }

    /** Where the photo goes: all of it, centred, then zoomed. */
    private fun place(photo: Bitmap) {
        val scale = zoom * minOf(width / photo.width.toFloat(), height / photo.height.toFloat())
        val (w, h) = photo.width * scale to photo.height * scale
        val left = place(w, width.toFloat(), centreX)
        val top = place(h, height.toFloat(), centreY)
        shown.set(left, top, left + w, top + h)
        matrix.setScale(scale, scale)
        matrix.postTranslate(left, top)
    }

    private fun place(size: Float, room: Float, centre: Float): Float =
        if (size <= room) {
            (room - size) / 2
        } else {
            (room / 2 - centre * size).coerceIn(room - size, 0f)
        }

    private val scaling = ScaleGestureDetector(
        context,
        object : ScaleGestureDetector.SimpleOnScaleGestureListener() {
            override fun onScale(detector: ScaleGestureDetector): Boolean {
                zoom = (zoom * detector.scaleFactor).coerceIn(1f, MOST_ZOOM)
                invalidate()
                return true
            }
        },
    )

    private val dragging = GestureDetector(
        context,
        object : GestureDetector.SimpleOnGestureListener() {
            override fun onDown(event: MotionEvent): Boolean = true

            override fun onScroll(
                start: MotionEvent?,
                event: MotionEvent,
                distanceX: Float,
                distanceY: Float,
            ): Boolean {
                if (event.pointerCount > 1 && shown.width() > 0) {
                    centreX = (centreX + distanceX / shown.width()).coerceIn(0f, 1f)
                    centreY = (centreY + distanceY / shown.height()).coerceIn(0f, 1f)
                    invalidate()
                } else if (event.pointerCount == 1) {
                    moveLine(event.x)
                }
                return true
            }

            override fun onSingleTapUp(event: MotionEvent): Boolean {
                moveLine(event.x)
                return true
            }

            override fun onDoubleTap(event: MotionEvent): Boolean {
                resetZoom()
                return true
            }
        },
    )

    private fun moveLine(x: Float) {
        val left = shown.left.coerceAtLeast(0f)
        val span = shown.right.coerceAtMost(width.toFloat()) - left
        if (after != null && span > 0) split = (x - left) / span
    }

    @Suppress("ClickableViewAccessibility") // clicks are the seek bar's actions below
    override fun onTouchEvent(event: MotionEvent): Boolean {
        parent.requestDisallowInterceptTouchEvent(true)
        scaling.onTouchEvent(event)
        return dragging.onTouchEvent(event) || super.onTouchEvent(event)
    }

    override fun onKeyDown(code: Int, event: KeyEvent): Boolean {
        when (code) {
            KeyEvent.KEYCODE_DPAD_LEFT -> split -= STEP
            KeyEvent.KEYCODE_DPAD_RIGHT -> split += STEP
            else -> return super.onKeyDown(code, event)
        }
        return true
    }

    override fun getAccessibilityClassName(): CharSequence = SeekBar::class.java.name

    override fun onInitializeAccessibilityNodeInfo(info: AccessibilityNodeInfo) {
        super.onInitializeAccessibilityNodeInfo(info)
        if (after == null) return
        val kind = AccessibilityNodeInfo.RangeInfo.RANGE_TYPE_PERCENT
        @Suppress("DEPRECATION") // the constructor came with API 30
        info.rangeInfo = AccessibilityNodeInfo.RangeInfo.obtain(kind, 0f, 100f, split * 100)
        info.addAction(AccessibilityNodeInfo.AccessibilityAction.ACTION_SCROLL_FORWARD)
        info.addAction(AccessibilityNodeInfo.AccessibilityAction.ACTION_SCROLL_BACKWARD)
    }

    override fun performAccessibilityAction(action: Int, arguments: Bundle?): Boolean {
        val old = split
        when (action) {
            AccessibilityNodeInfo.ACTION_SCROLL_FORWARD -> split += STEP
            AccessibilityNodeInfo.ACTION_SCROLL_BACKWARD -> split -= STEP
            else -> return super.performAccessibilityAction(action, arguments)
        }
        return abs(split - old) > 0
    }

    private companion object {
        const val MOST_ZOOM = 16f
        const val STEP = 0.1f
    }
}
