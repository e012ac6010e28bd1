package org.tensorflow.lite;

/** For tests on a desktop JVM: see Interpreter. */
public final class TensorFlowLite {
  public static String runtimeVersion() {
    return org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteVersion().getString() + " (JVM)";
  }

  private TensorFlowLite() {}
}
