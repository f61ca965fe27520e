import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints each report that is new, and whether it is the first of its week or a correction. */
public class ReadReports {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv().getOrDefault("DDOR_KAFKA_BOOTSTRAP", "127.0.0.1:9092"));
        settings.put("group.id", "reports-in-java");
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("allow.auto.create.topics", "false");

        ObjectMapper json = new ObjectMapper();
        Set<String> seen = new HashSet<>(); // keep both in your own store, written with what you make of a report
        Map<String, Integer> newest = new HashMap<>();
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of("report-ready"));
            while (true) {
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    JsonNode event = event(json, record.value());
                    // Other types may come, and records that are not the publisher's.
                    if (!event.path("type").asText().equals("report-ready")) continue;
                    if (!event.path("source").asText().equals("/publisher")) continue;
                    if (!seen.add(event.path("id").asText())) continue; // sent twice
                    JsonNode report = event.path("data");
                    String week = report.path("week_start").asText();
                    int revision = report.path("revision").asInt();
                    if (revision <= newest.getOrDefault(week, 0)) continue; // an older one of this week
                    newest.put(week, revision);
                    JsonNode totals = report.path("totals");
                    System.out.printf("%s revision %d: issued %d, declined %d%n", week, revision,
                        totals.path("issued").asInt(), totals.path("declined").asInt());
                }
                consumer.commitSync();
            }
        }
    }

    private static JsonNode event(ObjectMapper json, byte[] value) {
        try {
            return value == null ? json.createObjectNode() : json.readTree(value);
        } catch (java.io.IOException notJson) {
            return json.createObjectNode();
        }
    }
}
