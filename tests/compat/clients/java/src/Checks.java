// What the Java programs share: counted checks in named groups, and where the server is.
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

final class Checks {
    static final String HOST = System.getenv("TIDEWATER_HOST");
    static final int PORT = Integer.parseInt(System.getenv("TIDEWATER_PORT"));
    static final String PASSWORD = System.getenv("TIDEWATER_PASSWORD");
    private static int held;
    private static boolean failed;

    interface Group {
        void run() throws Exception;
    }

    static void ok(boolean holds, Object said) {
        if (!holds) throw new AssertionError(said);
        held++;
    }

    static void equal(Object got, Object wanted) {
        ok(Objects.deepEquals(got, wanted), "got " + got + ", wanted " + wanted);
    }

    static void fails(Class<? extends Throwable> kind, String text, Callable<?> call) {
        Object got;
        try {
            got = call.call();
        } catch (Throwable error) {
            ok(kind.isInstance(error) && String.valueOf(error.getMessage()).contains(text), error + ", wanted " + kind.getSimpleName() + ": " + text);
            return;
        }
        throw new AssertionError("got " + got + ", wanted " + kind.getSimpleName() + ": " + text);
    }

    static void until(String what, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + 15_000_000_000L;
        while (!holds.call()) {
            if (System.nanoTime() > end) throw new AssertionError("waited in vain for " + what);
            Thread.sleep(5);
        }
    }

    static Thread meanwhile(Group what) {
        Thread thread = new Thread(() -> {
            try {
                what.run();
            } catch (Exception error) {
                error.printStackTrace(System.out);
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static byte[] big() {
        byte[] big = new byte[20_000_000];
        for (int i = 0; i < big.length; i++) big[i] = (byte) (i * 7 + i / 251);
        return big;
    }

    static byte[] every() {
        return Arrays.copyOf(big(), 1000);
    }

    static Map<String, String> map(String... pairs) {
        Map<String, String> map = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) map.put(pairs[i], pairs[i + 1]);
        return map;
    }

    static void run(String name, Group group) {
        int before = held;
        long began = System.nanoTime();
        try {
            group.run();
            ok(held > before, "the group has checked nothing");
            System.out.printf("%s: %d in %d ms%n", name, held - before, (System.nanoTime() - began) / 1_000_000);
        } catch (Throwable error) {
            error.printStackTrace(System.out);
            System.out.println(name + ": FAILED");
            failed = true;
        }
    }

    static void end() {
        System.out.println(held + " checks");
        System.out.flush();
        System.exit(failed ? 1 : 0);
    }
}
