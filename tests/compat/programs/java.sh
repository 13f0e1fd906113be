# title: OpenJDK: compiler, threads, garbage collectors, zip, direct buffers, a child
# needs: java javac
# packages: default-jdk-headless
# version: java -version
# processes: java
# note: The Java heap is mapped with MAP_NORESERVE and not counted; what the VM itself allocates is.
cat > Job.java <<'END'
import java.nio.ByteBuffer; import java.util.*; import java.util.concurrent.*; import java.util.stream.*; import java.util.zip.*;
public class Job {
  public static void main(String[] arguments) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(6);
    List<Future<Long>> parts = new ArrayList<>();
    for (int n = 0; n < 12; n++) { final int k = n; parts.add(pool.submit(() -> {
      Map<Integer, List<String>> map = new HashMap<>();
      for (int i = 0; i < 40_000; i++) map.computeIfAbsent(i * 7919 % 2003, x -> new ArrayList<>()).add("s" + i * k);
      return map.values().stream().flatMap(List::stream).mapToLong(String::hashCode).sum(); })); }
    long sum = 0; for (Future<Long> part : parts) sum += part.get();
    pool.shutdown();
    List<ByteBuffer> direct = IntStream.range(0, 200).mapToObj(i -> ByteBuffer.allocateDirect(64 << 10)).collect(Collectors.toList());
    byte[] data = new byte[1 << 20]; new Random(7).nextBytes(data);
    CRC32 crc = new CRC32(); Deflater deflater = new Deflater(); deflater.setInput(data, 0, 200_000); deflater.finish();
    byte[] packed = new byte[300_000]; crc.update(packed, 0, deflater.deflate(packed)); deflater.end();
    Process child = new ProcessBuilder("sh", "-c", "seq 1000 | sort -r | tail -n 1").start();
    String line = new String(child.getInputStream().readAllBytes()).trim();
    System.gc();
    System.out.println(sum + " " + direct.size() + " " + crc.getValue() + " " + line + " " + child.waitFor());
  }
}
END
javac -d . Job.java
for collector in Serial Parallel G1; do java "-XX:+Use${collector}GC" -Xmx128m -Xshare:auto Job; done
java -Xmx64m Job.java
