package org.tensorflow.lite;

/** For tests on a desktop JVM: see Interpreter. */
public interface Tensor {
  int[] shape();
}
