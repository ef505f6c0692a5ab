package lakeward.testing;

import io.delta.storage.LocalLogStore;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkContext;

/**
 * The last step of a Delta transaction, where a test can stop it: everything is read and written, the commit is not
 * there yet. A statement that "began now and commits later" waits here, and Delta itself finds the conflicts.
 *
 * <p>It also puts down what each statement committed (Spark says nothing after an INSERT), and gives a COPY INTO its own
 * name in the table's history. It refuses to decide anything: who may commit, the double says.
 */
public class CommitGateLogStore extends LocalLogStore {
  private static final Pattern COMMIT = Pattern.compile("[0-9]{20}\\.json");
  private static final Object ONE_AT_A_TIME = new Object();

  public CommitGateLogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
      throws IOException {
    String statement = property("lakeward.statement");
    if (overwrite || statement == null || !COMMIT.matcher(path.getName()).matches()) {
      super.write(path, actions, overwrite, configuration);
      return;
    }
    List<String> lines = new ArrayList<>();
    actions.forEachRemaining(line -> lines.add(named(line)));
    java.nio.file.Path folder = java.nio.file.Path.of(property("lakeward.gates"));
    if ("closed".equals(property("lakeward.gate"))) {
      await(folder, statement);
    }
    synchronized (ONE_AT_A_TIME) {
      super.write(path, lines.iterator(), false, configuration);
    }
    for (String line : lines) {
      if (line.startsWith("{\"commitInfo\"")) {
        java.nio.file.Path commits = folder.resolve(statement + ".commits");
        Files.writeString(commits, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
      }
    }
  }

  /** With it, Delta would hold one lock over the whole commit, and a statement at its gate would stop all others. */
  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration configuration) {
    return false;
  }

  private static String property(String key) {
    return SparkContext.getOrCreate().getLocalProperty(key);
  }

  private static String named(String line) {
    String operation = property("lakeward.operation");
    if (operation == null || !line.startsWith("{\"commitInfo\"")) {
      return line;
    }
    return line.replaceFirst("\"operation\":\"WRITE\"", "\"operation\":\"" + operation + "\"");
  }

  /** A verdict stays: a commit that has to try the next version does not wait again. */
  private static void await(java.nio.file.Path folder, String statement) throws IOException {
    Files.writeString(folder.resolve(statement + ".waits"), "");
    java.nio.file.Path verdict = folder.resolve(statement + ".verdict");
    while (!Files.exists(verdict)) {
      try {
        Thread.sleep(5);
      } catch (InterruptedException e) {
        throw new IOException("[LAKEWARD_NOT_COMMITTED] interrupted before the commit", e);
      }
    }
    if (!Files.readString(verdict).equals("commit")) {
      throw new IOException("[LAKEWARD_NOT_COMMITTED] refused before the commit");
    }
  }
}
