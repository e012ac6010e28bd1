package org.tensorflow.lite;

import static org.bytedeco.tensorflowlite.global.tensorflowlite.*;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorflowlite.TfLiteInterpreter;
import org.bytedeco.tensorflowlite.TfLiteInterpreterOptions;
import org.bytedeco.tensorflowlite.TfLiteModel;
import org.bytedeco.tensorflowlite.TfLiteSignatureRunner;
import org.bytedeco.tensorflowlite.TfLiteTensor;

/**
 * For tests on a desktop JVM: the calls that the app's LiteRT engine makes, on the C API of
 * TensorFlow Lite for Linux. Without XNNPACK, which that library leaves out.
 */
public final class Interpreter implements AutoCloseable {
  public static class Options {
    int threads = -1;

    public Options setNumThreads(int count) {
      threads = count;
      return this;
    }

    public Options setUseXNNPACK(boolean use) {
      return this;
    }
  }

  private final ByteBuffer file; // must live as long as the model
  private final TfLiteModel model;
  private final TfLiteInterpreterOptions options = TfLiteInterpreterOptionsCreate();
  private final TfLiteInterpreter interpreter;
  private final Map<String, TfLiteSignatureRunner> runners = new LinkedHashMap<>();

  public Interpreter(ByteBuffer file, Options given) {
    this.file = file;
    model = TfLiteModelCreate(new Pointer(file), file.capacity());
    if (model == null) throw new IllegalArgumentException("not a model");
    TfLiteInterpreterOptionsSetNumThreads(options, given.threads);
    interpreter = TfLiteInterpreterCreate(model, options);
    if (interpreter == null) throw new IllegalArgumentException("cannot make an interpreter");
    for (int i = 0; i < TfLiteInterpreterGetSignatureCount(interpreter); i++) {
      String key = TfLiteInterpreterGetSignatureKey(interpreter, i).getString();
      TfLiteSignatureRunner runner = TfLiteInterpreterGetSignatureRunner(interpreter, key);
      check(TfLiteSignatureRunnerAllocateTensors(runner));
      runners.put(key, runner);
    }
  }

  public String[] getSignatureKeys() {
    return runners.keySet().toArray(new String[0]);
  }

  public String[] getSignatureInputs(String key) {
    String[] names = new String[(int) TfLiteSignatureRunnerGetInputCount(runners.get(key))];
    for (int i = 0; i < names.length; i++)
      names[i] = TfLiteSignatureRunnerGetInputName(runners.get(key), i).getString();
    return names;
  }

  public String[] getSignatureOutputs(String key) {
    String[] names = new String[(int) TfLiteSignatureRunnerGetOutputCount(runners.get(key))];
    for (int i = 0; i < names.length; i++)
      names[i] = TfLiteSignatureRunnerGetOutputName(runners.get(key), i).getString();
    return names;
  }

  public Tensor getInputTensorFromSignature(String name, String key) {
    return shapeOf(TfLiteSignatureRunnerGetInputTensor(runners.get(key), name));
  }

  public Tensor getOutputTensorFromSignature(String name, String key) {
    return shapeOf(TfLiteSignatureRunnerGetOutputTensor(runners.get(key), name));
  }

  public void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String key) {
    TfLiteSignatureRunner runner = runners.get(key);
    for (Map.Entry<String, Object> input : inputs.entrySet()) {
      TfLiteTensor tensor = TfLiteSignatureRunnerGetInputTensor(runner, input.getKey());
      FloatPointer data = pointer((FloatBuffer) input.getValue(), tensor);
      check(TfLiteTensorCopyFromBuffer(tensor, data, TfLiteTensorByteSize(tensor)));
    }
    check(TfLiteSignatureRunnerInvoke(runner));
    for (Map.Entry<String, Object> output : outputs.entrySet()) {
      TfLiteTensor tensor = TfLiteSignatureRunnerGetOutputTensor(runner, output.getKey());
      FloatPointer data = pointer((FloatBuffer) output.getValue(), tensor);
      check(TfLiteTensorCopyToBuffer(tensor, data, TfLiteTensorByteSize(tensor)));
    }
  }

  @Override
  public void close() {
    for (TfLiteSignatureRunner runner : runners.values()) TfLiteSignatureRunnerDelete(runner);
    runners.clear();
    TfLiteInterpreterDelete(interpreter);
    TfLiteInterpreterOptionsDelete(options);
    TfLiteModelDelete(model);
  }

  private static FloatPointer pointer(FloatBuffer buffer, TfLiteTensor tensor) {
    // As strict as the real one: direct, and of exactly the tensor's size.
    if (!buffer.isDirect() || 4L * buffer.capacity() != TfLiteTensorByteSize(tensor))
      throw new IllegalArgumentException("a buffer of another size");
    return new FloatPointer(buffer);
  }

  private static Tensor shapeOf(TfLiteTensor tensor) {
    int[] shape = new int[TfLiteTensorNumDims(tensor)];
    for (int i = 0; i < shape.length; i++) shape[i] = TfLiteTensorDim(tensor, i);
    return () -> shape;
  }

  private static void check(int status) {
    if (status != 0) throw new IllegalStateException("status " + status);
  }
}
