import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Children of a Java program (ProcessBuilder, so jspawnhelper): short ones in two threads, and one that is spoken with. */
class Children {
    static long shorts(int rounds) throws Exception {
        long sum = 0;
        for (int round = 0; round < rounds; round++) {
            Process child = new ProcessBuilder("/bin/sh", "-c", "seq 1 100 | tail -n 1; exit " + round % 100).start();
            BufferedReader lines = new BufferedReader(new InputStreamReader(child.getInputStream()));
            sum += Long.parseLong(lines.readLine());
            if (child.waitFor() != round % 100) throw new IOException("status " + child.exitValue() + " in round " + round);
        }
        return sum;
    }

    static long spoken(int rounds) throws Exception {
        Process child = new ProcessBuilder("/bin/sed", "-u", "s/^/1/").start();
        PrintWriter to = new PrintWriter(child.getOutputStream(), true);
        BufferedReader from = new BufferedReader(new InputStreamReader(child.getInputStream()));
        long sum = 0;
        for (int round = 0; round < rounds * 10; round++) {
            to.println(round);
            String answer = from.readLine();
            if (!answer.equals("1" + round)) throw new IOException("round " + round + ": " + answer);
            sum += Long.parseLong(answer);
        }
        to.close();
        return sum + child.waitFor();
    }

    public static void main(String[] words) throws Exception {
        String scale = System.getenv("SCALE");
        int rounds = (int) (60 * (scale == null ? 1 : Double.parseDouble(scale)));
        System.out.println("START");
        ExecutorService pool = Executors.newFixedThreadPool(3);
        List<Callable<Long>> tasks = List.of(() -> shorts(rounds), () -> shorts(rounds), () -> spoken(rounds));
        StringBuilder result = new StringBuilder("RESULT");
        for (Future<Long> future : pool.invokeAll(tasks)) result.append(' ').append(future.get());
        pool.shutdown();
        System.out.println(result);
    }
}
