// A stand-in for tests without Google's Maven repository: what Robolectric asks of androidx.test.
package androidx.test.internal.platform.content

interface PermissionGranter {
    fun addPermissions(vararg permissions: String)
    fun requestPermissions()
}
