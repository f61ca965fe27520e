// java Probe.java URL KEY EVENT_FILE LINES_FILE: sends one event, then lines, as each form of HttpClient does.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

public class Probe {
    public static void main(String[] args) throws Exception {
        Path event = Path.of(args[2]), lines = Path.of(args[3]);
        for (String form : new String[] {"default", "http1", "expect", "chunked"}) {
            HttpClient.Builder builder = HttpClient.newBuilder();
            if (!form.equals("default")) {
                builder.version(HttpClient.Version.HTTP_1_1);
            }
            HttpClient client = builder.build();
            for (Path body : new Path[] {event, lines}) {
                boolean single = body.equals(event);
                HttpRequest.BodyPublisher publisher = form.equals("chunked")
                    ? BodyPublishers.ofInputStream(() -> open(body)) : BodyPublishers.ofFile(body);
                HttpRequest request = HttpRequest.newBuilder(URI.create(args[0]))
                    .header("Authorization", "Bearer " + args[1])
                    .header("Content-Type", single ? "application/cloudevents+json" : "application/x-ndjson")
                    .timeout(Duration.ofSeconds(20)).expectContinue(form.equals("expect")).POST(publisher).build();
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                long accepted = answer.body().split("\"status\":\"accepted\"", -1).length - 1;
                System.out.println(form + " " + answer.statusCode() + " " + accepted);
            }
        }
        System.exit(0);
    }

    static java.io.InputStream open(Path path) {
        try {
            return Files.newInputStream(path);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
