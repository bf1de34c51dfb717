import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** G1 with garbage, a thread pool, hot loops; the JVM itself suspends its threads with SIGUSR2. */
public class Busy {
    static long work(long seed, int rounds) {
        long state = seed;
        List<byte[]> kept = new ArrayList<>();
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < 20000; i++) {
                state ^= state << 13;
                state ^= state >>> 7;
                state ^= state << 17;
            }
            byte[] block = new byte[(int) (state & 0xffff) + 1];
            block[block.length - 1] = (byte) round;
            kept.add(block);
            if (kept.size() > 200) {
                byte[] old = kept.remove((int) ((state >>> 20) % 200 + 200) % 200);
                state += old[old.length - 1];
            }
        }
        return state;
    }

    public static void main(String[] words) throws Exception {
        String text = System.getenv("SCALE");
        int rounds = (int) (2000 * (text == null ? 1 : Double.parseDouble(text)));
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> futures = new ArrayList<>();
        for (int i = 1; i <= 8; i++) {
            final long seed = i;
            futures.add(pool.submit(() -> work(seed, rounds)));
        }
        System.out.println("START");
        long total = 0;
        for (Future<Long> future : futures) total += future.get();
        pool.shutdown();
        System.out.println("RESULT " + total);
    }
}
