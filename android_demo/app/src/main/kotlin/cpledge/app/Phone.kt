package cpledge.app

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import cpledge.core.Conditions
import java.io.File
import java.io.IOException

/** What the phone tells about itself; nothing that identifies it or its owner. */
object Phone {
    fun describe(): Map<String, String> {
        val values = linkedMapOf(
            "manufacturer" to Build.MANUFACTURER,
            "model" to Build.MODEL,
            "android" to Build.VERSION.RELEASE,
            "sdk" to Build.VERSION.SDK_INT.toString(),
            "abis" to Build.SUPPORTED_ABIS.joinToString(),
            "cores" to Runtime.getRuntime().availableProcessors().toString(),
        )
        if (Build.VERSION.SDK_INT >= 31) {
            values["soc"] = "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}"
        }
        return values
    }

    fun conditions(context: Context): Conditions {
        val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        val level = battery.number(BatteryManager.EXTRA_LEVEL)
        val scale = battery.number(BatteryManager.EXTRA_SCALE)
        return Conditions(
            thermal = thermal(context),
            batteryPercent = if (level != null && scale != null && scale > 0) {
                level * 100 / scale
            } else {
                null
            },
            charging = battery.number(BatteryManager.EXTRA_PLUGGED)?.let { it != 0 },
            batteryCelsius = battery.number(BatteryManager.EXTRA_TEMPERATURE)?.let { it / 10.0 },
        )
    }

    /** Highest resident memory of this process so far, in 10^6 bytes; null if it is not told. */
    fun memoryPeakMb(): Double? = try {
        File("/proc/self/status").useLines { lines ->
            lines.firstOrNull { it.startsWith("VmHWM:") }
                ?.filter { it.isDigit() }?.toLongOrNull()?.let { it * 1024 / 1e6 }
        }
    } catch (_: IOException) {
        null
    }

    private fun Intent?.number(name: String): Int? =
        this?.getIntExtra(name, Int.MIN_VALUE)?.takeIf { it != Int.MIN_VALUE }

    private fun thermal(context: Context): String? {
        if (Build.VERSION.SDK_INT < 29) return null
        val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager
        return when (power.currentThermalStatus) {
            PowerManager.THERMAL_STATUS_NONE -> "none"
            PowerManager.THERMAL_STATUS_LIGHT -> "light"
            PowerManager.THERMAL_STATUS_MODERATE -> "moderate"
            PowerManager.THERMAL_STATUS_SEVERE -> "severe"
            PowerManager.THERMAL_STATUS_CRITICAL -> "critical"
            PowerManager.THERMAL_STATUS_EMERGENCY -> "emergency"
            else -> "shutdown"
        }
    }
}
