import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Send detainer events, one JSON CloudEvent per line, and read the receipts while sending. Java 17, no packages.
 *
 *     java Client.java [FILE]     # without FILE: standard input, which may be endless
 *
 * DDOR_INGEST_URL is the address of ingest, DDOR_AGENCY_KEY the agency's key. Exit code 0: every event was accepted.
 * 1: some were rejected; standard output lists each with line, code and detail. 2: the client stopped before the end
 * of the input; standard error gives the reason.
 *
 * java.net.http does not read the response before it has sent the whole body. Therefore requests are short, and two
 * senders make them: while one reads its receipts, the other sends.
 */
public class Client {
    static final int SENDERS = 2;
    static final int LINES = 1_000; // per request at most: events without a receipt are in memory
    static final double IDLE_SECONDS = 1; // an incomplete request is sent after this time
    static final int STALL_SECONDS = 330; // without a response, the request is cancelled; ingest is never that slow
    static final double FIRST_WAIT = 0.5, LONGEST_WAIT = 30; // seconds before a retry
    static final Set<Integer> RETRYABLE_STATUSES = Set.of(408, 429, 500, 502, 503, 504);
    /** On the last line of a stream. */
    static final Set<String> RETRYABLE_ERRORS = Set.of("too-many-events", "too-slow", "receipts-not-read");

    /** A line of the input: its number, and its bytes as ISO 8859-1 characters, unchanged: ingest validates them. */
    record Event(long number, String text) {}

    static final Event END = new Event(0, "");

    /** Some events have no final receipt yet. */
    static class RetryError extends Exception {
        final double seconds; // the value of Retry-After, or 0

        RetryError(String reason, double seconds) {
            super(reason);
            this.seconds = seconds;
        }
    }

    final URI url;
    final String key;
    final HttpClient http;
    final BlockingQueue<Event> newEvents = new ArrayBlockingQueue<>(1_000); // bounded: the reader waits for the senders
    long accepted, rejected; // by all senders: guarded by this client's monitor

    Client(String url, String key) {
        this.url = URI.create(url.replaceAll("/+$", "") + "/v1/events");
        this.key = key;
        // By default (HTTP_2), HttpClient sends `Upgrade: h2c`. Ingest ignores it and responds in HTTP/1.1, but some
        // proxies do not handle it correctly.
        this.http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    }

    /** Send until every event has a final receipt. Returns the exit code. */
    int run(InputStream source) throws InterruptedException {
        List<Thread> senders =
            Stream.generate(() -> new Thread(new Sender())).limit(SENDERS).collect(Collectors.toList());
        senders.forEach(Thread::start);
        try (var reader = new BufferedReader(new InputStreamReader(source, ISO_8859_1))) { // preserves every byte
            long number = 0;
            for (String line; (line = reader.readLine()) != null; ) {
                number++;
                if (!line.isBlank()) newEvents.put(new Event(number, line));
            }
        } catch (IOException error) {
            stop("the input cannot be read: " + error); // not the end of the input
        }
        newEvents.put(END);
        for (Thread sender : senders) sender.join();
        System.out.printf("accepted %d, rejected %d%n", accepted, rejected);
        return rejected > 0 ? 1 : 0;
    }

    /** Makes one request after the other. */
    class Sender implements Runnable {
        List<Event> waiting = new ArrayList<>(); // without a final receipt
        boolean inputEnded;
        boolean progress; // the last request received a final receipt

        @Override
        public void run() {
            double wait = FIRST_WAIT;
            try {
                while (more()) {
                    progress = false;
                    try {
                        post();
                    } catch (RetryError again) {
                        if (progress) wait = FIRST_WAIT; // since the last retry
                        // Random, so that disconnected clients do not all return at the same time.
                        double seconds = Math.max(again.seconds, wait * (0.5 + Math.random() / 2));
                        wait = Math.min(2 * wait, LONGEST_WAIT);
                        System.err.printf("again in %.1f s: %s%n", seconds, again.getMessage());
                        Thread.sleep((long) (1000 * seconds));
                    }
                }
            } catch (InterruptedException | RuntimeException error) {
                stop(error.toString());
            }
        }

        /** Whether there is an event to send. If not, waits for new events until the request is full or due. */
        boolean more() throws InterruptedException {
            if (!waiting.isEmpty() || inputEnded) return !waiting.isEmpty();
            Event event = newEvents.take();
            long until = System.nanoTime() + (long) (1e9 * IDLE_SECONDS);
            for (; event != null; event = newEvents.poll(until - System.nanoTime(), TimeUnit.NANOSECONDS)) {
                if (event == END) {
                    inputEnded = true;
                    newEvents.put(END); // for the other sender
                    break;
                }
                waiting.add(event);
                if (waiting.size() == LINES) break;
            }
            return !waiting.isEmpty();
        }

        /** Make one request. The next request resends unsettled events. Throws RetryError if there are any. */
        void post() throws RetryError, InterruptedException {
            String body = waiting.stream().map(event -> event.text() + "\n").collect(Collectors.joining());
            var request = HttpRequest.newBuilder(url).POST(HttpRequest.BodyPublishers.ofString(body, ISO_8859_1))
                .header("Authorization", "Bearer " + key).header("Content-Type", "application/x-ndjson").build();
            var received = new ByteArrayOutputStream();
            var pending = http.sendAsync(
                request, BodyHandlers.ofByteArrayConsumer(piece -> piece.ifPresent(received::writeBytes)));
            String cutOff = "the response was cut off";
            try {
                var response = pending.get(STALL_SECONDS, TimeUnit.SECONDS);
                if (response.statusCode() != 207) {
                    String reason = response.statusCode() + " " + problem(received.toString(UTF_8));
                    if (!RETRYABLE_STATUSES.contains(response.statusCode())) stop(reason);
                    String retryAfter = response.headers().firstValue("Retry-After").orElse("");
                    throw new RetryError(reason, retryAfter.matches("\\d{1,6}") ? Integer.parseInt(retryAfter) : 0);
                }
            } catch (ExecutionException error) {
                cutOff = String.valueOf(error.getCause()); // but read the receipts that have arrived
            } catch (TimeoutException error) {
                pending.cancel(true);
            }
            List<Event> sent = List.copyOf(waiting); // line n of the request is sent.get(n - 1)
            for (String line : received.toString(UTF_8).split("\n")) {
                if (!line.endsWith("}")) break; // the last line may be cut off
                if (field(line, "line") != null) {
                    settle(line, sent.get(Integer.parseInt(field(line, "line")) - 1));
                } else if (field(line, "unavailable") != null) { // the summary
                    if (waiting.isEmpty()) return;
                    throw new RetryError(waiting.size() + " events are not known to be stored", 0);
                } else {
                    String reason = "ingest ended the stream, " + problem(line);
                    if (!RETRYABLE_ERRORS.contains(field(line, "code"))) stop(reason);
                    throw new RetryError(reason, 0);
                }
            }
            throw new RetryError(cutOff, 0);
        }

        void settle(String receipt, Event event) {
            String status = field(receipt, "status");
            if (status.equals("unavailable")) return;
            waiting.remove(event); // usually the first
            progress = true;
            synchronized (Client.this) {
                if (status.equals("accepted")) accepted++;
                else rejected++;
            }
            if (status.equals("rejected")) System.out.printf("line %d: %s%n", event.number(), problem(receipt));
        }
    }

    /**
     * The value of a string or number in a line of JSON. The JDK has no parser, and this needs none: quotation marks in
     * strings are escaped, so a quoted name before a colon is a member name.
     */
    static String field(String json, String name) {
        String value = "(?:(\\d+)|\"((?:[^\"\\\\]++|\\\\.)*+)\")";
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*" + value).matcher(json);
        if (!found.find()) return null;
        return found.group(1) != null ? found.group(1) : found.group(2).replaceAll("\\\\(.)", "$1");
    }

    /** Code and detail of a receipt, an error or a problem (RFC 9457); a proxy's response may have neither. */
    static String problem(String json) {
        String code = field(json, "code");
        if (code == null) return "no reason given; check that DDOR_INGEST_URL is the address of ingest";
        return code + ": " + field(json, "detail");
    }

    static synchronized void stop(String reason) {
        System.err.println("stopped: " + reason);
        System.exit(2);
    }

    public static void main(String[] arguments) throws Exception {
        String url = System.getenv("DDOR_INGEST_URL"), key = System.getenv("DDOR_AGENCY_KEY");
        if (url == null || key == null) stop("DDOR_INGEST_URL and DDOR_AGENCY_KEY must be set");
        InputStream source = System.in;
        try {
            if (arguments.length > 0) source = new FileInputStream(arguments[0]);
        } catch (IOException error) {
            stop("the input cannot be read: " + error);
        }
        System.exit(new Client(url, key).run(source));
    }
}
